"use strict";
// The words of the field are looked for in all places of the book, while they are typed.

const MOST = 30; // results that are listed
const BEFORE = 60, AFTER = 200; // letters of an excerpt around the first word that was found

const places = JSON.parse(document.getElementById("places").textContent);
const index = new MiniSearch({
  fields: ["title", "text"],
  storeFields: ["page", "title", "text"],
  // the beginning of a word is enough; all words must be there
  searchOptions: { prefix: true, combineWith: "AND", boost: { title: 3 } },
});
index.addAll(places);

const field = document.getElementById("words");
const said = document.getElementById("said");
const list = document.getElementById("found");

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children); // a text stays text, whatever it holds
  return made;
}

function excerpt({ text, terms }) {
  const small = text.toLowerCase();
  const hits = terms.map((term) => [small.indexOf(term), term.length]).filter(([at]) => at >= 0);
  if (!hits.length) return element("p", text.slice(0, AFTER));
  const [at, length] = hits.sort(([a], [b]) => a - b)[0];
  const start = Math.max(0, at - BEFORE);
  const end = at + length;
  return element("p", start ? "… " : "", text.slice(start, at), element("mark", text.slice(at, end)),
    text.slice(end, end + AFTER), text.length > end + AFTER ? " …" : "");
}

function result(found) {
  const link = element("a", found.title);
  link.href = found.id;
  const page = found.page === found.title ? "" : element("small", ` in ${found.page}`);
  return element("li", link, page, excerpt(found));
}

function show() {
  const words = field.value.trim();
  let found = index.search(words);
  const exact = found.length > 0;
  if (!exact) found = index.search(words, { fuzzy: 0.2 });
  const first = found.length > MOST ? `; the first ${MOST}` : "";
  const places = `${found.length} ${found.length === 1 ? "place" : "places"}`;
  const similar = `No place has these words; ${places} with similar ones`;
  said.textContent = words && (exact ? places : found.length ? similar : "No place has these words") + first;
  list.replaceChildren(...found.slice(0, MOST).map(result));
}

field.addEventListener("input", () => {
  show();
  // the address keeps the words: whoever comes back finds the results again
  history.replaceState(null, "", `#q=${encodeURIComponent(field.value)}`);
});
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter") list.querySelector("a")?.focus();
});
if (location.hash.startsWith("#q=")) field.value = decodeURIComponent(location.hash.slice(3));
show();
