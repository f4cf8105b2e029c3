// A prediction drawn on its image: masks, boxes, names.

const MOST_COVERED = .2;  // share of a name that may lie on names that are there
const SMALLEST_REGION = .004;  // share of the image of a region that gets its name

/** '#rrggbb' as three numbers. */
export function rgb(colour) {
  return [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
}

/** Black or white, whichever has more contrast to a colour. */
function ink(colour) {
  const [red, green, blue] = colour.map(part => {
    const share = part / 255;
    return share <= .04045 ? share / 12.92 : ((share + .055) / 1.055) ** 2.4;
  });
  return .2126 * red + .7152 * green + .0722 * blue > .179 ? '#000' : '#fff';
}

/** Whether a prediction's objects may overlap, and have scores and boxes. */
export function isInstances(prediction) {
  return prediction.task === 'instances';
}

/** Indices of the objects that are shown: above the threshold, of classes that are not hidden. */
export function shown(prediction, threshold, hiddenLabels) {
  return prediction.objects.map((_, index) => index).filter(index => {
    const one = prediction.objects[index];
    return (one.score === null || one.score >= threshold) && !hiddenLabels.has(one.label);
  });
}

/**
 * Draw onto the whole of a context's canvas.
 *
 * view: {image (drawable), prediction, layer, colours (of the objects, [r, g, b]), visible (their
 * indices), opacity, names (whether they are written)}; unit: pixels of the canvas for one of text
 * of 13.
 */
export function draw(context, view, unit) {
  const {width, height} = context.canvas;
  const {prediction, layer, colours, visible, opacity} = view;
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.imageSmoothingEnabled = width < 3 * prediction.image.width;
  context.drawImage(view.image, 0, 0, width, height);
  // the highest scores, which come first, lie on top
  const order = [...visible].reverse();
  layer.paint(order);
  if (opacity > 0) {
    const outlined = prediction.task !== 'labels';
    context.drawImage(layer.coloured(colours, opacity, outlined), 0, 0, width, height);
  }
  const scale = width / prediction.image.width;
  if (isInstances(prediction)) {
    context.lineWidth = 2 * unit;
    context.lineJoin = 'round';
    for (const index of order) {
      const [left, top, right, bottom] = prediction.objects[index].box.map(side => side * scale);
      context.strokeStyle = `rgb(${colours[index]})`;
      context.strokeRect(left, top, right - left, bottom - top);
    }
  }
  if (view.names) drawNames(context, view, unit, scale);
}

function drawNames(context, {prediction, layer, colours, visible}, unit, scale) {
  const {width, height} = context.canvas;
  const total = prediction.image.width * prediction.image.height;
  const size = 13 * unit, padding = 4 * unit, high = size * 1.5;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  const taken = [];
  for (const index of visible) {
    const one = prediction.objects[index];
    const text = one.score === null ? one.name : `${one.name} ${one.score.toFixed(2)}`;
    const wide = context.measureText(text).width + 2 * padding;
    let places;
    if (isInstances(prediction)) {
      const [left, top, right, bottom] = one.box.map(side => side * scale);
      places = [[left, top - high], [left, top], [right - wide, top - high], [left, bottom],
                [right - wide, bottom - high]];
    } else {
      const middle = one.area < SMALLEST_REGION * total ? null : layer.middle(index);
      if (!middle) continue;
      places = [[middle[0] * width - wide / 2, middle[1] * height - high / 2]];
    }
    const boxes = places.map(([x, y]) => [Math.max(0, Math.min(x, width - wide)),
                                          Math.max(0, Math.min(y, height - high))]);
    const covered = boxes.map(([x, y]) => taken.reduce((sum, [left, top, across]) =>
      sum + Math.max(0, Math.min(x + wide, left + across) - Math.max(x, left)) *
        Math.max(0, Math.min(y, top) + high - Math.max(y, top)), 0));
    const best = covered.indexOf(Math.min(...covered));
    if (covered[best] > MOST_COVERED * wide * high) continue;
    const [x, y] = boxes[best];
    taken.push([x, y, wide]);
    context.fillStyle = `rgb(${colours[index]})`;
    context.beginPath();
    context.roundRect(x, y, wide, high, 3 * unit);
    context.fill();
    context.fillStyle = ink(colours[index]);
    context.fillText(text, x + padding, y + high / 2);
  }
}

/** The object at a place of the image in parts of its sides: of masks the one on top, else of boxes
 * the smallest; or -1. */
export function objectAt({prediction, layer, visible}, x, y) {
  const masked = layer.at(x, y);
  if (masked >= 0 || !isInstances(prediction)) return masked;
  const {width, height} = prediction.image;
  let best = -1, smallest = Infinity;
  for (const index of visible) {
    const [left, top, right, bottom] = prediction.objects[index].box;
    const area = (right - left) * (bottom - top);
    if (x * width >= left && x * width <= right && y * height >= top && y * height <= bottom &&
        area < smallest) {
      best = index;
      smallest = area;
    }
  }
  return best;
}
