"use strict";
/* Data and libraries lie in the page as gzip in base64. Nothing is fetched. */

async function unpack(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function unpackJSON(id) {
  return JSON.parse(await unpack(id));
}

/** Base64 as a typed array of the given type; the page's data is little-endian, as every browser's machine is. */
function decoded(text, Type) {
  return new Type(Uint8Array.from(atob(text), character => character.charCodeAt(0)).buffer);
}

let plotlyLoading = null;
function loadPlotly() {
  plotlyLoading ??= unpack("plotly-source").then(source => {
    const script = document.createElement("script");
    script.textContent = source;
    document.head.append(script);
    return window.Plotly;
  });
  return plotlyLoading;
}

async function loadDataTables() {
  const source = new Blob([await unpack("datatables-source")], { type: "text/javascript" });
  const url = URL.createObjectURL(source);
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}
