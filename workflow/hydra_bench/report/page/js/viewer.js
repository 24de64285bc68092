/* A map beside its truth as lit surfaces: one level, one camera for both. */

const WIDE = 560;
const LIGHTING = { ambient: 0.3, diffuse: 0.68, specular: 0.3, roughness: 0.5, fresnel: 0.05 };
const ZOOM = { x: 1.7, y: 1.7, z: 1.7 };
const TURN = Math.PI / 10;

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

/** A vector turned about an axis of length 1 by an angle (Rodrigues). */
function turned(v, about, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const along = v[0] * about[0] + v[1] * about[1] + v[2] * about[2], across = cross(about, v);
  return v.map((value, i) => value * c + across[i] * s + about[i] * along * (1 - c));
}

const list = ({ x, y, z }) => [x, y, z];
const point = ([x, y, z]) => ({ x, y, z });

function cameraFrom(view) {
  return { eye: point(view[2].map(value => 0.85 * value)), up: point(view[1]), center: point([0, 0, 0]), projection: { type: "orthographic" } };
}

function turnedCamera(camera, direction) {
  const [eye, up] = [list(camera.eye), list(camera.up)];
  const length = Math.hypot(...eye), right = cross(up, eye.map(value => value / length));
  if (direction === "left" || direction === "right") {
    return { ...camera, eye: point(turned(eye, up, direction === "left" ? TURN : -TURN)) };
  }
  const angle = direction === "up" ? TURN : -TURN, size = Math.hypot(...right), about = right.map(value => value / size);
  return { ...camera, eye: point(turned(eye, about, angle)), up: point(turned(up, about, angle)) };
}

/** Light from the upper left, behind the viewer's shoulder, wherever the viewer is. */
function light(camera) {
  const [eye, up] = [list(camera.eye), list(camera.up)];
  const length = Math.hypot(...eye), towards = eye.map(value => value / length), right = cross(up, towards);
  return point(towards.map((value, i) => 1e5 * (value + 0.6 * up[i] - 0.5 * right[i])));
}

function surface(level, colour, scene, camera) {
  const { points, triangles, wide } = level.mesh;
  const corners = decoded(points, Uint16Array), numbers = decoded(triangles, wide ? Uint32Array : Uint16Array);
  const every = (array, k) => array.filter((_, n) => n % 3 === k);
  return {
    type: "mesh3d", scene, color: colour, flatshading: false, lighting: LIGHTING, lightposition: light(camera), hoverinfo: "skip",
    x: every(corners, 0), y: every(corners, 1), z: every(corners, 2), i: every(numbers, 0), j: every(numbers, 1), k: every(numbers, 2),
  };
}

/** The range of coordinates, about the box's middle, that holds the surfaces up to the third level. */
function reach(method, dataset) {
  const truths = dataset.species.filter(species => species.levels);
  let farthest = 0;
  for (const { levels } of truths.length ? truths : method.maps) {
    for (const { mesh } of levels.slice(0, 3)) {
      if (mesh) for (const value of decoded(mesh.points, Uint16Array)) farthest = Math.max(farthest, Math.abs(value - 32768));
    }
  }
  return [32768 - 1.05 * farthest, 32768 + 1.05 * farthest];
}

/** Draws the viewer of a method; returns the element that holds the 3-D views. */
async function drawViewer(root, method, dataset) {
  const Plotly = await loadPlotly();
  const [which, level, said, target] = [".which", ".level", ".said", ".chart"].map(name => root.querySelector(name));
  const map = () => method.maps[Number(which.value)];
  const range = { visible: false, range: reach(method, dataset), autorange: false };
  let camera = cameraFrom(map().view);

  const title = (text, left, top) => ({ text, x: left, y: top, xref: "paper", yref: "paper", xanchor: "center", yanchor: "bottom", showarrow: false });
  const arranged = hasTruth => {
    const side = target.clientWidth >= WIDE;
    const scene = (x, y) => ({ domain: { x, y }, camera, aspectmode: "manual", aspectratio: ZOOM, dragmode: "orbit", xaxis: range, yaxis: range, zaxis: range });
    const domains = !hasTruth ? [[[0, 1], [0, 0.93]]] : side ? [[[0, 0.495], [0, 0.93]], [[0.505, 1], [0, 0.93]]] : [[[0, 1], [0.53, 0.96]], [[0, 1], [0, 0.44]]];
    const current = map(), species = dataset.species[current.species];
    const texts = [`${current.name}: ${current.size.toLocaleString("en")} particles`, species && `${dataset.judge}: ${species.name}`];
    return layout({
      height: hasTruth && !side ? 640 : 400, margin: { l: 0, r: 0, t: 8, b: 8 }, showlegend: false,
      annotations: domains.map(([x, y], n) => title(texts[n], (x[0] + x[1]) / 2, y[1])),
      scene: scene(...domains[0]), ...(hasTruth ? { scene2: scene(...domains[1]) } : {}),
    });
  };
  const draw = async () => {
    const current = map(), step = Math.min(Number(level.value), current.levels.length - 1), species = dataset.species[current.species];
    const mine = current.levels[step], true_ = species?.levels?.[step], colour = species?.colour ?? "#999999";
    const data = [[mine, "scene"], [true_, "scene2"]].filter(([one]) => one?.mesh).map(([one, scene]) => surface(one, colour, scene, camera));
    said.textContent = `${Math.round(100 * dataset.shares[step])} % of the density, ${mine.volume_nm3.toLocaleString("en")} nm³; map at ${mine.level_sd} σ${true_ ? `, ${dataset.judge} at ${true_.level_sd} σ` : ""}`;
    await Plotly.react(target, data, arranged(Boolean(species?.levels)), { responsive: true, displaylogo: false, displayModeBar: false });
  };
  await draw();
  redraws.set(target, draw);

  const link = changed => {
    const moved = changed["scene.camera"] ?? changed["scene2.camera"];
    if (!moved || JSON.stringify(moved) === JSON.stringify(camera)) return;
    camera = moved;
    Plotly.relayout(target, { "scene.camera": camera, ...(target.layout.scene2 ? { "scene2.camera": camera } : {}) });
  };
  const relight = () => Plotly.restyle(target, { lightposition: light(camera) });
  target.on("plotly_relayouting", link);
  target.on("plotly_relayout", changed => { if (changed["scene.camera"] ?? changed["scene2.camera"]) { link(changed); relight(); } });
  const turn = direction => { camera = turnedCamera(camera, direction); draw(); };
  for (const button of root.querySelectorAll("[data-turn]")) button.addEventListener("click", () => turn(button.dataset.turn));
  target.addEventListener("keydown", event => {
    const direction = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" }[event.key];
    if (direction) { event.preventDefault(); turn(direction); }
  });
  which.addEventListener("change", () => { camera = cameraFrom(map().view); draw(); });
  level.addEventListener("input", draw);
  return target;
}
