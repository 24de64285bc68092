/* What happens when: the table at once, charts when they come near, a method's views when it is opened. */

const datasets = new Map();
function datasetOf(method) {
  const id = method.dataset.source;
  if (!datasets.has(id)) datasets.set(id, unpackJSON(id));
  return datasets.get(id);
}

/** Draw what a method's section holds, once; its 3-D view, of which few can live, each time it is opened. */
async function openMethod(section) {
  const source = section.querySelector("script.data");
  if (!source) return;
  const [method, dataset] = await Promise.all([unpackJSON(source.id), datasetOf(section)]);
  const draw = (name, drawing) => {
    const element = section.querySelector(name);
    if (element && !element.dataset.drawn) { element.dataset.drawn = "yes"; return drawing(element, method, dataset); }
    return null;
  };
  await draw(".confusion .chart", drawConfusion);
  await draw(".fsc .chart", drawFSC);
  await draw(".latents", drawLatents);
  await draw(".viewer", drawViewer);
  section.dataset.ready = "yes";
}

function closeOthers(opened) {
  // Each 3-D view takes up to two of the browser's few contexts.
  for (const other of document.querySelectorAll("details.method[open]")) if (other !== opened) other.open = false;
}

function openTarget() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let element = target; element; element = element.parentElement) if (element.tagName === "DETAILS") element.open = true;
  target.scrollIntoView();
}

for (const section of document.querySelectorAll("details.method")) {
  section.addEventListener("toggle", () => {
    if (section.open) { closeOthers(section); openMethod(section); }
    else for (const viewer of section.querySelectorAll(".viewer")) {
      purge(viewer.querySelector(".chart"));
      // Its listeners go with it: a copy without any takes its place.
      viewer.replaceWith(viewer.cloneNode(true));
      delete section.querySelector(".viewer").dataset.drawn;
      section.querySelector(".viewer .chart").replaceChildren();
    }
  });
}

// Contents start closed where they would cover a small screen.
if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;
addEventListener("hashchange", openTarget);
requestAnimationFrame(async () => {
  await startTables();
  for (const figure of document.querySelectorAll(".costs")) await drawCosts(figure);
  openTarget();
  document.documentElement.dataset.ready = "yes";
});
