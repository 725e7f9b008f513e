# a script that lies beside its document
name="$1"
echo "hello $(inputs.name), $name"
