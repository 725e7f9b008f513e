cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement:
    expressionLib:
      - 'var factor = 3;'
      - 'function scale(values) { return values.map(function (v) { return v * factor; }); }'
inputs:
  values: float[]
outputs:
  scaled: float[]
  text: string
  node: string
  kinds: Any
expression: |
  ${
    var found = {scaled: scale(inputs.values), text: "sum " + inputs.values.reduce(function (a, b) { return a + b; }, 0)};
    found.node = [typeof process, typeof require, typeof globalThis.constructor.constructor("return this")().process].join();
    found.kinds = [null, true, "\u00e9\"\n", {a: [1.5, {}]}, /x(.)/.exec("axb")[1]];
    return found;
  }
