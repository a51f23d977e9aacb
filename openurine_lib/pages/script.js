"use strict";
// Tables sort by a click on a column's name; figures open large. Without this script the page is whole, only still.

// The number that a cell begins with ("62.0 [60.0, 64.0]"); NaN where it begins with none.
const numberOf = (text) => parseFloat(text.replace("−", "-"));

function compare(a, b) {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  // data-sort: where the order is not that of the text, as of none, rare, few
  const text = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const rows = [...body.rows];
  // what is missing stays at the end in both directions
  const missing = (row) => ["", "—"].includes(text(row));
  rows.sort((a, b) => missing(a) - missing(b) || compare(text(a), text(b)) * (descending ? -1 : 1));
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.querySelectorAll("th")) {
    if (!head.textContent.trim()) continue;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, head.cellIndex, descending);
    });
  }
}

const dialog = document.getElementById("large");
const large = dialog.querySelector("img");
for (const link of document.querySelectorAll("a.enlarge")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // the reader wants another tab
    event.preventDefault();
    const small = link.querySelector("img");
    large.src = small.currentSrc || small.src;
    large.alt = small.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());

// Boxes of a field are shown by head and confidence.
const filter = document.querySelector(".filter");
if (filter) {
  filter.addEventListener("input", () => {
    const heads = [...filter.querySelectorAll(":checked")].map((box) => box.value);
    const least = filter.elements.least.valueAsNumber;
    filter.querySelector("output").textContent = least.toFixed(2);
    const counts = document.querySelectorAll(".shown");
    document.querySelectorAll(".field").forEach((field, i) => {
      let shown = 0;
      for (const box of field.querySelectorAll("rect")) {
        const isShown = heads.includes(box.dataset.head) && Number(box.dataset.conf) >= least;
        box.style.display = isShown ? "" : "none";
        shown += isShown;
      }
      counts[i].textContent = shown;
    });
  });
}

// On a narrow screen the contents would fill the first page: they start closed.
if (window.matchMedia("(max-width: 60rem)").matches) document.querySelector("details.contents").open = false;
// A link to a part within a closed fold opens the fold; paper has no folds.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (target) target.scrollIntoView();
}
window.addEventListener("hashchange", unfold);
unfold();
window.addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details.fold")) fold.open = true;
});
