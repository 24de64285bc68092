/* The tables of results and of costs: DataTables sorts and filters what is already there as HTML. */

const NO_VALUE = Number.NEGATIVE_INFINITY;

/** Numbers in either direction, with cells that have none last. */
function orderNumbersLast(DataTable) {
  const value = cell => (cell === "" || cell === null ? NO_VALUE : Number(cell));
  const compare = sign => (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === NO_VALUE || y === NO_VALUE) return (x === NO_VALUE) - (y === NO_VALUE);
    return sign * (x - y);
  };
  DataTable.ext.type.order["number-last-asc"] = compare(1);
  DataTable.ext.type.order["number-last-desc"] = compare(-1);
}

/** A list of choices that shows only the rows whose data attribute has the chosen value. */
function rowFilter(table, name, label, choices) {
  const wrapper = document.createElement("label");
  const select = document.createElement("select");
  select.append(...[["", "all"], ...choices].map(([value, text]) => new Option(text, value)));
  wrapper.append(`${label} `, select);
  select.addEventListener("change", () => {
    table.search.fixed(name, (_, data, index) => !select.value || table.row(index).node().dataset[name] === select.value);
    table.draw();
  });
  return wrapper;
}

async function startTables() {
  const DataTable = await loadDataTables();
  orderNumbersLast(DataTable);
  for (const element of document.querySelectorAll("table.sortable")) {
    const heads = [...element.tHead.rows[0].cells];
    const numbers = heads.flatMap((head, column) => (head.classList.contains("text") ? [] : [column]));
    const bar = document.createElement("div");
    bar.className = "filters";
    // A hidden first column keeps rows together: bounds below the methods.
    const grouped = heads[0].hidden, filter = element.dataset.filter ?? "Filter";
    const table = new DataTable(element, {
      paging: false, order: [], autoWidth: false, orderFixed: { pre: grouped ? [[0, "asc"]] : [] },
      columnDefs: [...(grouped ? [{ targets: 0, visible: false, searchable: false }] : []), { targets: numbers, type: "number-last" }],
      layout: { topStart: () => bar, topEnd: { search: { text: `${filter}: _INPUT_`, placeholder: "method, state, …" } }, bottomStart: "info", bottomEnd: null },
      language: { info: "_TOTAL_ rows", infoFiltered: "of _MAX_", infoEmpty: "No rows", zeroRecords: "No row matches the filter" },
    });
    // DataTables names the first column of its order, which may be the hidden one.
    table.on("draw", () => {
      const [column, direction] = table.order().at(-1) ?? [];
      for (const head of heads) head.removeAttribute("aria-sort");
      if (column && direction) heads[column].setAttribute("aria-sort", direction === "asc" ? "ascending" : "descending");
    });
    const values = name => [...new Set([...element.tBodies[0].rows].map(row => row.dataset[name]).filter(Boolean))].map(v => [v, v]);
    for (const [name, label] of [["job", "Job"], ["dataset", "Dataset"], ["kind", "Kind"], ["state", "State"]]) {
      const found = values(name);
      if (found.length > 1) bar.append(rowFilter(table, name, label, found));
    }
    element.classList.add("ready");
  }
}
