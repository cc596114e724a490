// Without this the page is complete; with it, a click on a heading sorts its table, a button saves it as text, and
// print opens what is folded.
const tell = (cell) => cell.innerText.trim().replace(/\s+/g, " ");
document.querySelectorAll("table.sortable").forEach((table, index) => {
  const button = document.createElement("button");
  button.className = "save";
  button.textContent = "save as TSV";
  button.addEventListener("click", () => {
    const lines = [...table.rows].map((row) => [...row.cells].map(tell).join("\t"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/tab-separated-values" }));
    link.download = `nephrospot-${table.closest("section").querySelector("h2").id}-${index + 1}.tsv`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  table.parentElement.after(button);
});
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.dataset.sort = "";
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent.trim();
      const number = (text) => parseFloat(text.replaceAll(",", "").replace("\u2212", "-"));
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [number(key(a)), number(key(b))];
        if (isNaN(x) || isNaN(y)) return isNaN(x) && isNaN(y) ? key(a).localeCompare(key(b)) : isNaN(x) - isNaN(y);
        return x - y;
      });
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
