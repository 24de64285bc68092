/* Confusion matrix and FSC curves of one method. */

const MOST_PRINTED = 14;
/** Species with an FSC curve each; of more, quantiles and the worst few. */
const MOST_CURVES = 12, WORST = 5;

function drawConfusion(element, method, dataset) {
  const { labels, counts } = method.confusion;
  const names = dataset.species.map(species => species.name);
  const shares = counts.map(row => {
    const total = row.reduce((sum, count) => sum + count, 0);
    return row.map(count => count / Math.max(total, 1));
  });
  // A gap of two pixels would leave nothing of the cells of many.
  const gap = labels.length <= MOST_PRINTED ? 2 : 0;
  return chart(element, () => {
    const colours = theme();
    return {
      data: [{
        type: "heatmap", z: shares, x: labels, y: names, text: counts.map(row => row.map(count => count.toLocaleString("en"))),
        zmin: 0, zmax: 1, xgap: gap, ygap: gap, colorscale: [[0, colours.card], [1, colours.mark]],
        texttemplate: labels.length <= MOST_PRINTED ? "%{text}" : undefined,
        hovertemplate: "%{y} in %{x}:<br>%{text} particles, %{z:.1%} of the row<extra></extra>",
        colorbar: { title: { text: "share of row", side: "right" }, tickformat: ".0%", thickness: 12, outlinewidth: 0 },
      }],
      layout: layout({
        height: Math.min(120 + 46 * names.length, 900),
        xaxis: axis("", { side: "bottom", showgrid: false, ticks: "" }), yaxis: axis("", { autorange: "reversed", showgrid: false, ticks: "" }),
      }),
    };
  });
}

function drawFSC(element, method, dataset) {
  const { frequency, classes } = method.fsc;
  const symbols = ["solid", "dash", "dot", "dashdot"];
  const band = (low, high, colour, more) => ({ type: "scatter", mode: "lines", x: [...frequency, ...[...frequency].reverse()], y: [...high, ...[...low].reverse()], fill: "toself", fillcolor: colour, opacity: 0.15, line: { width: 0 }, hoverinfo: "skip", showlegend: false, ...more });
  const curve = (y, name, line) => ({ type: "scatter", mode: "lines", x: frequency, y, name, line, customdata: frequency.map(f => 1 / f), hovertemplate: `FSC %{y:.3f} at %{customdata:.1f} Å<extra>${name}</extra>` });
  const each = () => classes.flatMap(({ species, mean, sd }, n) => {
    const { name, colour } = dataset.species[species];
    return [
      band(mean.map((value, i) => value - sd[i]), mean.map((value, i) => value + sd[i]), colour, { legendgroup: name }),
      { ...curve(mean, name, { color: colour, width: 2.5, dash: symbols[Math.floor(n / 8) % 4] }), legendgroup: name },
    ];
  });
  const many = colours => {
    const sum = ({ mean }) => mean.reduce((total, value) => total + value, 0);
    const worst = [...classes].sort((a, b) => sum(a) - sum(b)).slice(0, WORST);
    const at = share => frequency.map((_, i) => quantile(classes.map(({ mean }) => mean[i]), share));
    return [
      band(at(0.05), at(0.95), colours.mark), band(at(0.25), at(0.75), colours.mark, { opacity: 0.3 }),
      curve(at(0.5), "median of the species", { color: colours.mark, width: 3 }),
      ...worst.map(({ species, mean }, n) => curve(mean, dataset.species[species].name, { color: colours.text, width: 1.2, dash: symbols[1 + n % 3] })),
    ];
  };
  return chart(element, () => {
    const colours = theme();
    const data = classes.length > MOST_CURVES ? many(colours) : each();
    const end = frequency.at(-1);
    const line = y => ({ type: "line", x0: 0, x1: end, y0: y, y1: y, line: { color: colours.muted, width: 1, dash: "dot" } });
    const note = y => ({ x: 0, y, text: String(y), xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 11, color: colours.muted } });
    const resolutions = [200, 100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3.5, 3, 2.5, 2].filter(d => 1 / d <= end && 1 / d > 0.1 * end);
    const kept = resolutions.filter((d, i) => i === 0 || 1 / d - 1 / resolutions[i - 1] > 0.06 * end);
    return {
      data,
      layout: layout({
        height: 400, shapes: [line(0.5), line(0.143)], annotations: [note(0.5), note(0.143)],
        xaxis: axis("resolution (Å)", { range: [0, end], tickvals: kept.map(d => 1 / d), ticktext: kept.map(String) }),
        yaxis: axis("Fourier shell correlation", { range: [-0.1, 1.03], zeroline: false }),
      }),
    };
  });
}

/** The value below which a share of some numbers lies, between neighbours by their distance. */
function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b), place = share * (sorted.length - 1), below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}
