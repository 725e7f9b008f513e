// What the validator of the Open Science Catalog says of catalogs: one line of JSON, {path: [message]}, for each line
// of standard input, {"folder": ..., "only": [path] or null}. Run in a checkout of ESA-EarthCODE/open-science-catalog-validation; ARGV: the folder with node_modules, and
// what JSON schemas to take from where: {"https://.../": "folder/"}. It is offline: another schema is no schema.
"use strict";
const { createRequire, Module } = require("module");
const fs = require("fs");
const path = require("path");
const readline = require("readline");

const [modules, mapped] = process.argv.slice(2);
process.env.NODE_PATH = modules; // the checkout's validate.js takes its libraries from there too
Module._initPaths();
const from = createRequire(path.join(modules, "x.js"));
const validate = from("stac-node-validator");
const { makeAjvErrorMessage } = from("stac-node-validator/src/utils.js");
const Rules = require(path.resolve("validate.js"));
const own = require(path.resolve("config.js"));
const schemaMap = { ...own.schemaMap, ...JSON.parse(mapped) };

function files(folder) {
  return fs.readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile() && /\.(geo)?json$/i.test(one.name))
    .map((one) => path.join(one.parentPath, one.name)).sort();
}

async function loader(uri) {
  if (/^https?:/.test(uri)) {
    if (uri.startsWith("https://stac-extensions.github.io/")) return { $id: uri };
    throw new Error(`offline: ${uri}`);
  }
  return JSON.parse(await fs.promises.readFile(uri, "utf8"));
}

function said(report) {
  const { core, extensions, custom } = report.results;
  return [...core, ...Object.values(extensions).flat(), ...custom].map((error) => makeAjvErrorMessage(error));
}

// Compiled schemas are kept: all that is asked of one process is asked of the same checkout.
let compiled = null;
class Kept extends Rules {
  async createAjv(ajv) {
    compiled ??= ajv;
    return compiled;
  }
}

async function judge({ folder, only }) {
  const found = {};
  const judged = async (chosen) => {
    const rules = { ...own, schemaMap, loader, customValidator: new Kept(), strict: false };
    for (const one of (await validate(chosen, rules)).children) {
      if (one.valid === false) found[path.relative(folder, one.id)] = said(one).map((text) => text.slice(0, 300));
    }
  };
  const all = only ? only.map((one) => path.join(folder, one)) : files(folder);
  try {
    await judged(all);
  } catch (error) { // one file that it cannot bear ends it for all: which one?
    for (const file of all) {
      await judged([file]).catch((why) => { found[path.relative(folder, file)] = [`crash: ${why.message}`]; });
    }
  }
  return found;
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await judge(JSON.parse(line))));
  }
})();
