// Draws the results of a job: GeoJSON and footprints of STAC items on a map, and GeoTIFFs over it. All of it comes from
// strangers: sizes are bounded before anything is parsed or drawn, texts stay texts, and only numbers become shapes.
"use strict";
(() => {
  const MOST_BYTES = 8 * 1024 * 1024; // of one GeoJSON
  const MOST_POINTS = 300000; // of one GeoJSON
  const MOST_FEATURES = 20000;
  const MOST_NESTED = 4; // collections in collections
  const FIRST_LAYERS = 8; // that are drawn without being asked for
  const COLOURS = ["#b3361b", "#0a5a94", "#6b3fa0", "#00695c", "#8a5a00", "#a0145a"];
  const KINDS = { Point: 0, MultiPoint: 1, LineString: 1, MultiLineString: 2, Polygon: 2, MultiPolygon: 3 };
  const loading = new Map();

  // A library, once, when it is needed.
  function library(address) {
    if (!loading.has(address)) {
      loading.set(
        address,
        new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.src = address;
          script.onload = resolve;
          script.onerror = () => reject(new Error("a part of this page did not load"));
          document.head.append(script);
        }),
      );
    }
    return loading.get(address);
  }

  // The bytes behind an address, as text, unless there are too many.
  async function text(address, most) {
    const answer = await fetch(address, { headers: { Accept: "application/geo+json, application/json" } });
    if (!answer.ok) throw new Error(`the file cannot be read (${answer.status})`);
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let found = "";
    for (let size = 0; ; ) {
      const { done, value } = await reader.read();
      if (done) return found + decoder.decode();
      size += value.length;
      if (size > most) {
        await reader.cancel();
        throw new Error(`it is larger than ${most / 1024 / 1024} MB`);
      }
      found += decoder.decode(value, { stream: true });
    }
  }

  // ---- GeoJSON: only what has the right form is taken over

  function shapes(found) {
    const taken = { features: [], points: 0, wrong: 0 };
    const kind = found === null || typeof found !== "object" ? "" : found.type;
    const all = kind === "FeatureCollection" && Array.isArray(found.features) ? found.features : [found];
    for (const one of all) {
      if (taken.features.length >= MOST_FEATURES) throw new Error(`it has more than ${MOST_FEATURES} features`);
      const bare = one !== null && typeof one === "object" && one.type !== "Feature";
      const geometry = clean(bare ? one : one?.geometry, taken, 0);
      if (geometry === null) taken.wrong += one?.geometry === null ? 0 : 1;
      else taken.features.push({ type: "Feature", geometry, properties: bare ? {} : simple(one.properties) });
    }
    return taken;
  }

  function clean(geometry, taken, depth) {
    if (geometry === null || typeof geometry !== "object" || depth > MOST_NESTED) return null;
    if (geometry.type === "GeometryCollection" && Array.isArray(geometry.geometries)) {
      const parts = geometry.geometries.map((one) => clean(one, taken, depth + 1)).filter((one) => one !== null);
      return parts.length ? { type: "GeometryCollection", geometries: parts } : null;
    }
    if (!Object.hasOwn(KINDS, String(geometry.type))) return null;
    const coordinates = positions(geometry.coordinates, KINDS[geometry.type], taken);
    return coordinates === null ? null : { type: geometry.type, coordinates };
  }

  function positions(value, depth, taken) {
    if (!Array.isArray(value)) return null;
    if (depth > 0) {
      const parts = value.map((one) => positions(one, depth - 1, taken));
      return parts.length === 0 || parts.includes(null) ? null : parts;
    }
    if (++taken.points > MOST_POINTS) throw new Error(`it has more than ${MOST_POINTS} points`);
    const [x, y] = value;
    return Number.isFinite(x) && Number.isFinite(y) && Math.abs(x) <= 540 && Math.abs(y) <= 90 ? [x, y] : null;
  }

  // Properties that are texts and numbers, the first of them.
  function simple(properties) {
    if (properties === null || typeof properties !== "object" || Array.isArray(properties)) return {};
    return Object.fromEntries(
      Object.entries(properties)
        .filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
        .slice(0, 20)
        .map(([name, value]) => [name.slice(0, 60), String(value).slice(0, 300)]),
    );
  }

  function described(title, properties) {
    const made = document.createElement("div");
    const heading = document.createElement("strong");
    heading.textContent = title;
    const list = document.createElement("dl");
    for (const [name, value] of Object.entries(properties)) {
      const term = document.createElement("dt");
      term.textContent = name;
      const words = document.createElement("dd");
      words.textContent = value;
      list.append(term, words);
    }
    made.append(heading, list);
    return made;
  }

  async function vectors(entry, map) {
    const found = JSON.parse(await text(entry.address, MOST_BYTES));
    const footprint = found !== null && typeof found === "object" && typeof found.stac_version === "string";
    const taken = shapes(found);
    if (taken.wrong) entry.say(`${taken.wrong} of its features cannot be drawn in longitude and latitude`);
    else if (taken.features.length === 0) entry.say("it is empty");
    return L.geoJSON(
      { type: "FeatureCollection", features: taken.features },
      {
        style: { color: entry.colour, weight: 2, fillOpacity: footprint ? 0 : 0.2, dashArray: footprint ? "6 5" : null },
        interactive: !footprint,
        pointToLayer: (_, place) => L.circleMarker(place, { radius: 6 }),
        onEachFeature: (one, layer) => footprint || layer.bindPopup(() => described(entry.title, one.properties)),
      },
    );
  }

  // ---- the map

  async function drawMap(element) {
    const { leaflet, topojson: topology, coast, tiles, attribution } = element.dataset;
    await library(leaflet);
    element.hidden = false;
    const map = L.map(element, { preferCanvas: true, attributionControl: false, worldCopyJump: true, minZoom: 1 });
    map.setView([20, 0], 1);
    L.control.scale({ imperial: false }).addTo(map);
    if (tiles) {
      L.tileLayer(tiles, { maxZoom: 19 }).addTo(map);
      const said = document.createElement("span");
      said.textContent = attribution;
      L.control.attribution({ prefix: false }).addAttribution(said.innerHTML).addTo(map);
    } else {
      await library(topology);
      const world = await (await fetch(coast)).json();
      const land = topojson.feature(world, world.objects.land);
      const pane = map.createPane("land");
      pane.style.zIndex = 150;
      const renderer = L.svg({ pane: "land", padding: 0.5 });
      const style = { color: "#9aa9a0", weight: 1, fillColor: "#f4f3ec", fillOpacity: 1 };
      L.geoJSON(land, { pane: "land", renderer, interactive: false, style }).addTo(map);
      graticule(map);
    }
    const rasters = map.createPane("rasters");
    rasters.style.zIndex = 250;
    return map;
  }

  // Meridians and parallels at round degrees, with their names at the edge.
  function graticule(map) {
    const pane = map.createPane("degrees");
    pane.style.zIndex = 300;
    pane.style.pointerEvents = "none";
    const lines = L.layerGroup().addTo(map);
    const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30];
    const line = { color: "#5c7183", weight: 1, opacity: 0.35, interactive: false };
    const name = (value, step, letters) => {
      const digits = step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
      return `${Math.abs(value).toFixed(digits)}° ${letters[value < 0 ? 1 : 0]}`;
    };
    const label = (place, words, anchor) => {
      const element = document.createElement("span");
      element.textContent = words;
      const icon = L.divIcon({ className: "degree", html: element, iconSize: null, iconAnchor: anchor });
      L.marker(place, { icon, interactive: false, keyboard: false, pane: "degrees" }).addTo(lines);
    };
    const draw = () => {
      lines.clearLayers();
      const view = map.getBounds();
      const [west, east] = [Math.max(view.getWest(), -180), Math.min(view.getEast(), 180)];
      const [south, north] = [Math.max(view.getSouth(), -85), Math.min(view.getNorth(), 85)];
      const step = steps.find((one) => (east - west) / one <= 7) ?? 45;
      for (let x = Math.ceil(west / step) * step; x <= east; x += step) {
        L.polyline([[south, x], [north, x]], line).addTo(lines);
        label([north, x], name(x, step, "EW"), [-4, -2]);
      }
      for (let y = Math.ceil(south / step) * step; y <= north; y += step) {
        L.polyline([[y, west], [y, east]], line).addTo(lines);
        label([y, east], name(y, step, "NS"), [58, 18]);
      }
    };
    map.on("moveend", draw);
    draw();
  }

  // ---- the list of layers: a box to tick for each

  function entryOf(element, number) {
    const link = element.querySelector("a");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.setAttribute("aria-label", `Show on the map: ${link.textContent}`);
    const told = document.createElement("span");
    told.className = "range";
    element.prepend(box);
    element.append(told);
    const raster = element.dataset.raster !== undefined;
    const colour = COLOURS[number % COLOURS.length];
    if (!raster) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.backgroundColor = colour;
      box.after(swatch);
    }
    const say = (words) => (told.textContent = words);
    const address = raster ? element.dataset.raster : element.dataset.geojson;
    return { element, box, raster, colour, say, address, title: link.textContent, layer: null };
  }

  async function show(entry, map, element) {
    if (entry.layer === null) {
      entry.say("is being read …");
      try {
        let made;
        if (entry.raster) {
          await Promise.all([library(element.dataset.geotiff), library(element.dataset.proj), library(element.dataset.rasters)]);
          made = await brokerRaster(entry);
        } else {
          entry.say("");
          made = await vectors(entry, map);
        }
        entry.layer = made;
      } catch (error) {
        entry.say(`cannot be drawn: ${String(error.message ?? error).slice(0, 200)}`);
        entry.box.checked = false;
        return null;
      }
    }
    if (entry.box.checked) entry.layer.addTo(map);
    return entry.layer.getBounds?.() ?? null;
  }

  async function start() {
    const element = document.getElementById("map");
    if (element === null || element.dataset.drawn !== undefined) return;
    element.dataset.drawn = "";
    const says = document.getElementById("map-says");
    const entries = [...document.querySelectorAll("#layers > li")].map(entryOf);
    try {
      const map = await drawMap(element);
      let first = 0;
      for (const entry of entries) {
        entry.box.checked = entry.raster ? entries.findIndex((one) => one.raster) === entries.indexOf(entry) : first++ < FIRST_LAYERS;
        entry.box.addEventListener("change", async () => {
          if (!entry.box.checked) return entry.layer?.remove();
          const where = await show(entry, map, element);
          if (where?.isValid() && !map.getBounds().intersects(where)) map.fitBounds(where, { padding: [24, 24] });
        });
      }
      const seen = await Promise.all(entries.filter((one) => one.box.checked).map((one) => show(one, map, element)));
      const whole = L.latLngBounds([]);
      for (const where of seen) if (where?.isValid()) whole.extend(where);
      if (whole.isValid()) map.fitBounds(whole, { padding: [24, 24], maxZoom: 17, animate: false });
      element.dataset.drawn = "all";
    } catch (error) {
      element.hidden = true;
      says.textContent = `The map cannot be drawn: ${String(error.message ?? error).slice(0, 200)}.`;
    }
  }

  document.documentElement.classList.add("scripted");
  document.addEventListener("renewed", start);
  start();
})();
