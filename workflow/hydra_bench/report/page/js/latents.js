/* Latent coordinates of particles: a point names its particle and shows its image. */

function drawLatents(root, method, dataset) {
  const { axes, own_spaces: ownSpaces, sizes } = method.latents;
  const [x, y] = [decoded(method.latents.x, Float32Array), decoded(method.latents.y, Float32Array)];
  const [truth, label] = [decoded(method.latents.truth, Int16Array), decoded(method.latents.label, Uint16Array)];
  const particles = decoded(dataset.particles, Uint32Array);
  const coordinate = dataset.coordinate && decoded(dataset.coordinate, Float32Array);
  const find = name => root.querySelector(name);
  const [space, colouring, number, target] = [".space", ".colouring", ".number", ".chart"].map(find);
  const speciesName = k => dataset.species[k]?.name ?? "no label";
  const labelColours = sizes.map((_, j) => `hsl(${Math.round((360 * j) / sizes.length + 20)} 45% ${j % 2 ? 40 : 62}%)`);
  let picked = null;

  const shown = () => [...particles.keys()].filter(i => !ownSpaces || label[i] === Number(space.value));
  const groups = () => {
    const mine = shown();
    if (colouring.value === "coordinate") return [["true coordinate", null, mine]];
    const key = colouring.value === "truth" ? truth : label;
    return [...new Set(mine.map(i => key[i]))].sort((a, b) => a - b).map(value => {
      const name = key === truth ? speciesName(value) : `${method.noun} ${value}`;
      const colour = key === truth ? dataset.species[value]?.colour ?? "#888888" : labelColours[value - 1];
      return [name, colour, mine.filter(i => key[i] === value)];
    });
  };
  const marker = (colour, members) => colour
    ? { color: colour, size: 6, opacity: 0.75 }
    : { color: members.map(i => coordinate[i]), colorscale: "Viridis", size: 6, opacity: 0.85, colorbar: { title: { text: "true<br>coordinate" }, thickness: 12, outlinewidth: 0 } };

  const draw = () => {
    const data = groups().map(([name, colour, members]) => ({
      type: "scatter", mode: "markers", name, x: members.map(i => x[i]), y: members.map(i => y[i]), customdata: members,
      text: members.map(i => `particle ${particles[i] + 1}: ${speciesName(truth[i])}, ${method.noun} ${label[i]}`),
      marker: marker(colour, members), hovertemplate: "%{text}<extra></extra>",
    }));
    if (picked !== null && (!ownSpaces || label[picked] === Number(space.value))) {
      data.push({ type: "scatter", mode: "markers", x: [x[picked]], y: [y[picked]], hoverinfo: "skip", showlegend: false, marker: { size: 16, symbol: "circle-open", color: theme().text, line: { width: 2 } } });
    }
    return { data, layout: layout({ height: 460, hovermode: "closest", xaxis: axis(axes[0]), yaxis: axis(axes[1], axes[1].endsWith("(a.u.)") ? {} : { range: [-2.5, 2.5], showticklabels: false, ticks: "", zeroline: false }) }) };
  };

  const card = particleCard(find(".particle"), dataset);
  const show = i => {
    picked = i;
    number.value = particles[i] + 1;
    card(i, [`Particle ${particles[i] + 1}`, speciesName(truth[i]), `${method.noun} ${label[i]}`, ...(coordinate && !Number.isNaN(coordinate[i]) ? [`true coordinate ${coordinate[i].toFixed(2)}`] : [])]);
  };
  number.addEventListener("change", () => {
    // Latent plots of long stacks show some of the particles: the nearest shown one is taken.
    const wanted = Number(number.value) - 1;
    let nearest = 0;
    for (const i of particles.keys()) if (Math.abs(particles[i] - wanted) < Math.abs(particles[nearest] - wanted)) nearest = i;
    if (ownSpaces) space.value = label[nearest];
    show(nearest);
    chart(target, draw);
  });
  for (const select of [space, colouring]) select?.addEventListener("change", () => chart(target, draw));
  return chart(target, draw).then(() => {
    target.on("plotly_hover", event => { const i = event.points[0].customdata; if (i !== undefined) show(i); });
    target.on("plotly_click", event => { const i = event.points[0].customdata; if (i !== undefined) { show(i); chart(target, draw); } });
  });
}

/** Fills the box beside a latent plot with one particle's image and facts. */
function particleCard(box, dataset) {
  const [canvas, facts] = [box.querySelector("canvas"), box.querySelector("p")];
  const sheet = dataset.thumbnails;
  const ready = sheet && new Promise(resolve => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.src = sheet.source;
  });
  canvas.hidden = !sheet;
  return async (i, lines) => {
    facts.replaceChildren(...lines.flatMap(line => [line, document.createElement("br")]));
    if (!sheet) return;
    const { side, columns } = sheet;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = true;
    pen.drawImage(await ready, (i % columns) * side, Math.floor(i / columns) * side, side, side, 0, 0, canvas.width, canvas.height);
  };
}
