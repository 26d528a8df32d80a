// The page is whole without this: it lights up the same object everywhere, enlarges view frames, sorts the table.
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

function light(id) {
  all(".lit").forEach((e) => e.classList.remove("lit"));
  if (!id) return;
  all(`[data-id="${id}"]`).forEach((e) => e.classList.add("lit"));
  all(".view").forEach((e) => e.classList.toggle("lit", e.dataset.ids.split(" ").includes(id)));
}
addEventListener("pointerover", (e) => light(e.target.closest("[data-id]")?.dataset.id));

const dialog = document.querySelector("dialog");
all(".view img").forEach((img) => img.addEventListener("click", () => {
  dialog.querySelector("img").src = img.src;
  dialog.showModal();
}));
dialog.addEventListener("click", () => dialog.close());

all("table.sortable th:not(.no-sort)").forEach((head) => head.addEventListener("click", () => {
  const column = head.cellIndex, body = head.closest("table").tBodies[0];
  const down = head.dataset.order === "up";
  all("th", head.parentNode).forEach((h) => delete h.dataset.order);
  head.dataset.order = down ? "down" : "up";
  const key = (row) => row.cells[column].dataset.sort;
  const compare = (a, b) => (isNaN(key(a)) || isNaN(key(b)) ? key(a).localeCompare(key(b)) : key(a) - key(b));
  body.append(...[...body.rows].sort((a, b) => (down ? -compare(a, b) : compare(a, b))));
}));
