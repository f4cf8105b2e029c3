// Masks in COCO's compressed run lengths, and the layer that shows them in colours.

/** The lengths of runs, of zeros and ones in turns, down the columns. */
export function runLengths(counts) {
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const part = counts.charCodeAt(at++) - 48;
      value |= (part & 31) << shift;
      shift += 5;
      more = (part & 32) !== 0;
      if (!more && part & 16 && shift < 32) value |= -1 << shift;
    }
    // from the third on, the difference to the run two before
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/**
 * The ones of a mask at the size of a layer: column, first row, and the row behind the last, three
 * numbers a stretch. A pixel of the layer is that of the image at its middle.
 */
export function stretches(mask, width, height) {
  const [imageHeight, imageWidth] = mask.size;
  const across = width / imageWidth, down = height / imageHeight;
  const columnOf = new Int32Array(imageWidth).fill(-1);
  const repeats = new Int32Array(imageWidth);
  for (let column = 0; column < width; column++) {
    const source = Math.min(Math.floor((column + .5) / across), imageWidth - 1);
    if (columnOf[source] < 0) columnOf[source] = column;
    repeats[source]++;
  }
  const found = [];
  let at = 0, isOne = false;
  for (const length of runLengths(mask.counts)) {
    const end = at + length;
    while (isOne && at < end) {
      const column = Math.floor(at / imageHeight);
      const first = at - column * imageHeight;
      const last = Math.min(end - column * imageHeight, imageHeight);
      const top = Math.ceil(first * down - .5), bottom = Math.ceil(last * down - .5);
      if (bottom > top) {
        for (let more = 0; more < repeats[column]; more++) {
          found.push(columnOf[column] + more, top, bottom);
        }
      }
      at = column * imageHeight + last;
    }
    at = end;
    isOne = !isOne;
  }
  return Int32Array.from(found);
}

/** Which object each pixel shows; objects that are painted later lie on top. */
export class Layer {
  constructor(objects, width, height) {
    this.width = width;
    this.height = height;
    this.stretches = objects.map(one => one.mask && stretches(one.mask, width, height));
    this.numbers = new Uint16Array(width * height);  // number of the object + 1, down the columns
  }

  paint(order) {
    this.numbers.fill(0);
    for (const index of order) {
      const parts = this.stretches[index];
      for (let at = 0; parts && at < parts.length; at += 3) {
        const begin = parts[at] * this.height;
        this.numbers.fill(index + 1, begin + parts[at + 1], begin + parts[at + 2]);
      }
    }
  }

  /** The object at a place in parts of the sides, or -1. */
  at(x, y) {
    const column = Math.floor(x * this.width), row = Math.floor(y * this.height);
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return -1;
    return this.numbers[column * this.height + row] - 1;
  }

  /** A canvas with the objects in their colours, and their outlines if `outlined`. */
  coloured(colours, opacity, outlined) {
    const {width, height, numbers} = this;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    const image = context.createImageData(width, height);
    const pixels = image.data;
    const alpha = Math.round(255 * opacity);
    for (let column = 0; column < width; column++) {
      for (let row = 0; row < height; row++) {
        const at = column * height + row;
        const number = numbers[at];
        if (!number) continue;
        const isEdge = outlined && opacity > 0 && (
          (column > 0 && numbers[at - height] !== number) ||
          (column < width - 1 && numbers[at + height] !== number) ||
          (row > 0 && numbers[at - 1] !== number) ||
          (row < height - 1 && numbers[at + 1] !== number));
        const [red, green, blue] = colours[number - 1];
        const place = 4 * (row * width + column);
        pixels[place] = red;
        pixels[place + 1] = green;
        pixels[place + 2] = blue;
        pixels[place + 3] = isEdge ? 255 : alpha;
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /**
   * A place well inside of an object, in parts of the sides, or null: the middle of a stretch that is
   * nearly the longest, of the middle one of these.
   */
  middle(index) {
    const parts = this.stretches[index];
    let longest = 0;
    for (let at = 0; parts && at < parts.length; at += 3) {
      longest = Math.max(longest, parts[at + 2] - parts[at + 1]);
    }
    const long = [];
    for (let at = 0; longest && at < parts.length; at += 3) {
      if (parts[at + 2] - parts[at + 1] >= .9 * longest) long.push(at);
    }
    if (!long.length) return null;
    const at = long[Math.floor(long.length / 2)];
    return [(parts[at] + .5) / this.width, (parts[at + 1] + parts[at + 2]) / 2 / this.height];
  }
}
