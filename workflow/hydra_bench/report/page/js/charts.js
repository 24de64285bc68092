/* Confusion matrix and FSC curves of one method. */

const MOST_PRINTED = 14;

function drawConfusion(element, method, dataset) {
  const { labels, counts } = method.confusion;
  const names = dataset.species.map(species => species.name);
  const shares = counts.map(row => {
    const total = row.reduce((sum, count) => sum + count, 0);
    return row.map(count => count / Math.max(total, 1));
  });
  return chart(element, () => {
    const colours = theme();
    return {
      data: [{
        type: "heatmap", z: shares, x: labels, y: names, text: counts.map(row => row.map(count => count.toLocaleString("en"))),
        zmin: 0, zmax: 1, xgap: 2, ygap: 2, colorscale: [[0, colours.card], [1, colours.mark]],
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
  return chart(element, () => {
    const colours = theme();
    const data = classes.flatMap(({ species, mean, sd }, n) => {
      const { name, colour } = dataset.species[species];
      const band = [...mean.map((value, i) => value + sd[i]), ...mean.map((value, i) => value - sd[i]).reverse()];
      return [
        { type: "scatter", mode: "lines", x: [...frequency, ...[...frequency].reverse()], y: band, fill: "toself", fillcolor: colour, opacity: 0.15, line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: name },
        { type: "scatter", mode: "lines", x: frequency, y: mean, name, legendgroup: name, line: { color: colour, width: 2.5, dash: symbols[Math.floor(n / 8) % 4] }, customdata: frequency.map(f => 1 / f), hovertemplate: `FSC %{y:.3f} at %{customdata:.1f} Å<extra>${name}</extra>` },
      ];
    });
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
