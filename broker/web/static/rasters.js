// A GeoTIFF as a layer of the map: an overview of it is read by ranges, coloured, and laid out in Web Mercator.
"use strict";
(() => {
  const MOST_PIXELS = 4 * 1024 * 1024; // that are read
  const MOST_TILE = 64 * 1024 * 1024; // bytes of one tile or strip, decoded
  const WANTED = 768; // pixels of the longer side
  const SECONDS = 60;
  const GRID = 16; // pixels between places that are projected exactly
  const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const KNOWN = {
    3857: "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +no_defs",
    3035: "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m +no_defs",
    3413: "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs",
    3031: "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs",
    6933: "+proj=cea +lat_ts=30 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs",
  };

  // From longitude and latitude to what the raster counts in.
  function projection(keys) {
    const code = keys.ProjectedCSTypeGeoKey;
    if (code === undefined && keys.GeographicTypeGeoKey !== undefined) return { forward: (p) => p, inverse: (p) => p };
    const zone = code % 100;
    const utm = (code > 32600 && code <= 32660) || (code > 32700 && code <= 32760) || (code > 25827 && code < 25839);
    const text = utm
      ? `+proj=utm +zone=${zone} ${code > 32700 ? "+south " : ""}+datum=WGS84 +units=m +no_defs`
      : KNOWN[code];
    if (text === undefined) throw new Error(`its coordinate system (${code ? `EPSG:${code}` : "unnamed"}) is not known here`);
    return proj4(text);
  }

  // The smallest picture in the file that is large enough.
  async function overview(tiff) {
    const first = await tiff.getImage(0);
    const count = Math.min(await tiff.getImageCount(), 20);
    const aspect = first.getWidth() / first.getHeight();
    let best = first;
    for (let number = 1; number < count; number++) {
      const one = await tiff.getImage(number);
      const similar = Math.abs(one.getWidth() / one.getHeight() / aspect - 1) < 0.1;
      const enough = Math.max(one.getWidth(), one.getHeight()) >= WANTED;
      if (similar && enough && one.getWidth() < best.getWidth()) best = one;
    }
    const tile = best.getTileWidth() * best.getTileHeight() * best.getSamplesPerPixel() * best.getBytesPerPixel();
    if (best.getWidth() * best.getHeight() > MOST_PIXELS || tile > MOST_TILE) {
      throw new Error("it is too large, and has no overviews (a Cloud-Optimized GeoTIFF has)");
    }
    return [first, best];
  }

  // The values to colour by: [low, high], from the 2nd to the 98th hundredth; a mask is told apart.
  function range(band, valid) {
    const values = [];
    const every = Math.max(1, Math.floor(band.length / 20000));
    for (let i = 0; i < band.length; i += every) if (valid(band[i])) values.push(band[i]);
    values.sort((a, b) => a - b);
    if (values.length === 0) throw new Error("it has no pixel with a value");
    const few = new Set(values);
    const mask = few.size <= 2 && [...few].every((one) => one === 0 || one === 1 || one === 255);
    const [low, high] = mask ? [0, Math.max(...few)] : [values[Math.floor(values.length * 0.02)], values[Math.floor((values.length - 1) * 0.98)]];
    return { low, high: high > low ? high : low + 1, mask };
  }

  function colour(share) {
    const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
    const number = Math.min(Math.floor(place), RAMP.length - 2);
    return RAMP[number].map((one, i) => one + (RAMP[number + 1][i] - one) * (place - number));
  }

  function painter(bands, nodata, entry) {
    const valid = (value) => Number.isFinite(value) && value !== nodata;
    if (bands.length >= 3 && bands[0] instanceof Uint8Array) {
      return (i, out, o) => {
        if (!valid(bands[0][i]) && !valid(bands[1][i]) && !valid(bands[2][i])) return;
        out[o] = bands[0][i];
        out[o + 1] = bands[1][i];
        out[o + 2] = bands[2][i];
        out[o + 3] = 255;
      };
    }
    const band = bands[0];
    const { low, high, mask } = range(band, valid);
    legend(entry, low, high, mask);
    const table = Array.from({ length: 256 }, (_, i) => colour(i / 255));
    return (i, out, o) => {
      const value = band[i];
      if (!valid(value) || (mask && value === 0)) return;
      const [r, g, b] = mask ? [22, 104, 168] : table[Math.round(Math.min(Math.max((value - low) / (high - low), 0), 1) * 255)];
      out[o] = r;
      out[o + 1] = g;
      out[o + 2] = b;
      out[o + 3] = 255;
    };
  }

  function legend(entry, low, high, mask) {
    entry.element.querySelector("canvas")?.remove();
    if (mask) return entry.say("where it is not 0");
    const canvas = document.createElement("canvas");
    canvas.className = "ramp";
    canvas.setAttribute("aria-hidden", "true");
    [canvas.width, canvas.height] = [80, 1];
    const paper = canvas.getContext("2d");
    for (let x = 0; x < 80; x++) {
      paper.fillStyle = `rgb(${colour(x / 79).map(Math.round).join(",")})`;
      paper.fillRect(x, 0, 1, 1);
    }
    const short = (value) => String(Number(value.toPrecision(3)));
    entry.say(`${short(low)} to ${short(high)}`);
    entry.element.lastElementChild.before(canvas);
  }

  const mercator = (latitude) => Math.log(Math.tan(Math.PI / 4 + (latitude * Math.PI) / 360));
  const latitude = (y) => ((2 * Math.atan(Math.exp(y)) - Math.PI / 2) * 180) / Math.PI;

  // [west, south, east, north] of a box of the raster's own coordinates.
  function extent([x0, y0, x1, y1], inverse) {
    const found = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i <= 20; i++) {
      const [x, y] = [x0 + ((x1 - x0) * i) / 20, y0 + ((y1 - y0) * i) / 20];
      for (const [lon, lat] of [[x, y0], [x, y1], [x0, y], [x1, y]].map((one) => inverse(one))) {
        if (!Number.isFinite(lon) || !Number.isFinite(lat)) throw new Error("it lies nowhere on Earth");
        found[0] = Math.min(found[0], lon);
        found[1] = Math.min(found[1], lat);
        found[2] = Math.max(found[2], lon);
        found[3] = Math.max(found[3], lat);
      }
    }
    found[1] = Math.max(found[1], -85);
    found[3] = Math.min(found[3], 85);
    if (!(found[2] - found[0] > 0 && found[2] - found[0] <= 360.5 && found[3] > found[1])) {
      throw new Error("it lies nowhere on Earth");
    }
    return found;
  }

  // The picture in Web Mercator: each pixel looks up where it is in the raster, exactly at a grid, between by its four corners.
  function warp(box, [west, south, east, north], forward, width, height, paint) {
    const [top, bottom] = [mercator(north), mercator(south)];
    const tall = (top - bottom) / (((east - west) * Math.PI) / 180);
    const [across, down] = tall > 1 ? [Math.max(1, Math.round(WANTED / tall)), WANTED] : [WANTED, Math.max(1, Math.round(WANTED * tall))];
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [across, down];
    const paper = canvas.getContext("2d");
    const picture = paper.createImageData(across, down);
    const at = (px, py) => {
      const [x, y] = forward([west + ((east - west) * px) / across, latitude(top - ((top - bottom) * py) / down)]);
      return [((x - box[0]) / (box[2] - box[0])) * width, ((box[3] - y) / (box[3] - box[1])) * height];
    };
    for (let gy = 0; gy < down; gy += GRID) {
      for (let gx = 0; gx < across; gx += GRID) {
        const [a, b, c, d] = [at(gx, gy), at(gx + GRID, gy), at(gx, gy + GRID), at(gx + GRID, gy + GRID)];
        for (let y = gy; y < Math.min(gy + GRID, down); y++) {
          for (let x = gx; x < Math.min(gx + GRID, across); x++) {
            const [u, v] = [(x + 0.5 - gx) / GRID, (y + 0.5 - gy) / GRID];
            const column = Math.floor((a[0] * (1 - u) + b[0] * u) * (1 - v) + (c[0] * (1 - u) + d[0] * u) * v);
            const row = Math.floor((a[1] * (1 - u) + b[1] * u) * (1 - v) + (c[1] * (1 - u) + d[1] * u) * v);
            if (column < 0 || row < 0 || column >= width || row >= height) continue;
            paint(row * width + column, picture.data, (y * across + x) * 4);
          }
        }
      }
    }
    paper.putImageData(picture, 0, 0);
    return canvas;
  }

  window.brokerRaster = async (entry) => {
    const ending = AbortSignal.timeout(SECONDS * 1000);
    const tiff = await GeoTIFF.fromUrl(entry.address, { allowFullFile: false }, ending);
    const [first, image] = await overview(tiff);
    const { forward, inverse } = projection(first.getGeoKeys() ?? {});
    const box = first.getBoundingBox();
    const where = extent(box, inverse);
    const samples = image.getSamplesPerPixel() >= 3 ? [0, 1, 2] : [0];
    const bands = await image.readRasters({ samples, signal: ending });
    const nodata = first.getGDALNoData();
    const canvas = warp(box, where, forward, image.getWidth(), image.getHeight(), painter(bands, nodata, entry));
    const bounds = [[where[1], where[0]], [where[3], where[2]]];
    const layer = L.imageOverlay(canvas.toDataURL(), bounds, { pane: "rasters", opacity: 0.9, alt: entry.title });
    return layer;
  };
})();
