/* Charts take their colours from the page's, light or dark, and are drawn again when those change. */

function theme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "muted", "line", "card", "mark"];
  return Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const redraws = new Map();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const redraw of redraws.values()) redraw();
});

function axis(title, more = {}) {
  const colours = theme();
  return {
    title: { text: title, standoff: 8 }, gridcolor: colours.line, zerolinecolor: colours.line, linecolor: colours.muted,
    ticks: "outside", tickcolor: colours.muted, automargin: true, ...more,
  };
}

function layout(more = {}) {
  const colours = theme();
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colours.text, size: 13, family: getComputedStyle(document.body).fontFamily },
    hoverlabel: { bgcolor: colours.card, bordercolor: colours.muted, font: { color: colours.text } },
    margin: { l: 55, r: 15, t: 15, b: 45 },
    legend: { orientation: "h", yanchor: "top", y: -0.22, x: 0 },
    ...more,
  };
}

/** Draw now, and again when colours change. `draw` returns Plotly's data, layout and config. */
async function chart(element, draw) {
  const Plotly = await loadPlotly();
  const render = () => {
    const { data, layout: arranged } = draw();
    const config = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["lasso2d", "select2d"] };
    return Plotly.react(element, data, arranged, config);
  };
  await render();
  redraws.set(element, render);
}

/** Let go of a chart that is no longer seen: browsers allow few 3-D views at a time. */
function purge(element) {
  redraws.delete(element);
  window.Plotly?.purge(element);
}
