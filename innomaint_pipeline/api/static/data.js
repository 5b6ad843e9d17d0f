/** How old the data are, what the last import brought, and how many rows the tables hold. */

import { foreign, h } from "./dom.js";
import { fact } from "./overview.js";
import { counted, number, when } from "./times.js";

/** What an import counted, in the order in which people ask; what is none is not said. */
const COUNTS = [["inserted", "new"], ["updated", "changed"], ["unchanged", "unchanged"], ["rejected", "rejected"], ["missing", "no longer in it"]];

export function buildData({ tables, last_answer_at: answerAt, last_change_at: changeAt, last_import: imported }) {
  return h("section", { class: "card", key: "data", "aria-labelledby": "data-title" }, h("h2", { id: "data-title" }, "Data"),
    h("dl", { class: "facts" },
      fact("Last answer", "last-answer", when(answerAt)),
      fact("Last answer that differed", "last-change", when(changeAt)),
      fact("Last import", "last-import", imported ? describeImport(imported) : "never")),
    h("details", {}, h("summary", {}, "Rows of the tables"),
      h("dl", { class: "rows" }, Object.entries(tables).map(([name, rows]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, number(rows)))))));
}

function describeImport({ at, workbook, rows, ...counts }) {
  const found = COUNTS.filter(([name]) => counts[name] > 0).map(([name, word]) => `${number(counts[name])} ${word}`);
  return [h("span", {}, when(at), ", of ", foreign(workbook)), h("span", { class: counts.rejected ? "warn" : "hint" }, [counted(rows, "row"), ...found].join(", "))];
}
