/* What a result costs: every method of a dataset, wall time across, quality upwards. */

function drawCosts(figure) {
  const { rows, measures } = JSON.parse(figure.querySelector("script").textContent);
  const [select, target] = [figure.querySelector("select"), figure.querySelector(".chart")];
  const draw = () => {
    const measure = select.value, colours = theme();
    // Bounds are grey: darker ones, made for paper, would not be seen on a dark page.
    const open = row => row.symbol.endsWith("-open"), colour = row => (open(row) ? colours.muted : row.colour);
    const data = rows.filter(row => row[measure] !== null).map(row => ({
      type: "scatter", mode: "markers", name: row.label, x: [row.wall_s], y: [row[measure]],
      error_y: row[`${measure}_sd`] === null ? undefined : { array: [row[`${measure}_sd`]], thickness: 1.2, width: 4, color: colour(row) },
      marker: { size: 13, color: colour(row), symbol: row.symbol, line: { width: open(row) ? 2.5 : 1, color: open(row) ? colour(row) : colours.text } },
      hovertemplate: `%{y:.3f}, %{x:.1f} s<extra>${row.label}</extra>`,
    }));
    return { data, layout: layout({
      height: 420, xaxis: axis("wall time of a run (s, logarithmic)", { type: "log", dtick: "D2" }),
      yaxis: axis(measures[measure], { range: [Math.min(-0.05, ...rows.map(row => row[measure] ?? 0)), 1.05], zeroline: false }),
    }) };
  };
  select.addEventListener("change", () => chart(target, draw));
  return chart(target, draw);
}
