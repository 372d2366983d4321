const svg = document.querySelector("figure svg");
const boxes = [...svg.querySelectorAll("g")];
const rows = [...document.querySelectorAll("li[data-regions]")];
const regionsOf = (row) => row.dataset.regions.split(" ").filter(Boolean);
let pinned = null;

function look(ids, at) {
  svg.classList.toggle("looking", ids.length > 0);
  for (const box of boxes) box.classList.toggle("on", ids.includes(box.dataset.region));
  for (const row of rows) row.classList.toggle("on", row === at || (!at && regionsOf(row).some((id) => ids.includes(id))));
}
const rest = () => (pinned ? look(regionsOf(pinned), pinned) : look([], null));

for (const row of rows) {
  row.addEventListener("mouseenter", () => look(regionsOf(row), row));
  row.addEventListener("focus", () => look(regionsOf(row), row));
  row.addEventListener("mouseleave", rest);
  row.addEventListener("blur", rest);
  row.addEventListener("click", () => { pinned = pinned === row ? null : row; rest(); });
}
for (const box of boxes) {
  box.addEventListener("mouseenter", () => look([box.dataset.region], null));
  box.addEventListener("mouseleave", rest);
}
