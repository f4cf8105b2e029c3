// One model's side of the page: the drawn image, its legend, its downloads.
import {draw, isInstances, objectAt, rgb, shown} from './drawing.js';
import {Layer} from './masks.js';

const LAYER_SIDE = 1600;  // pixels of masks on the screen
const TALLEST = .74;  // of the window
const LARGEST_ENLARGEMENT = 8;  // of small images

export class Panel {
  /** settings: {threshold, opacity, names}, which the page changes. */
  constructor(model, settings) {
    this.model = model;
    this.settings = settings;
    this.hiddenLabels = new Set();
    this.view = null;
    this.element = document.getElementById('panel-template').content.firstElementChild
      .cloneNode(true);
    this.canvas = this.find('canvas');
    this.before = this.find('.before');
    this.before.addEventListener('load', () => { this.before.hidden = !this.canvas.hidden; });
    this.find('h2').textContent = model.name;
    this.find('.save-json').addEventListener('click', () => this.saveJson());
    this.find('.save-image').addEventListener('click', () => this.saveImage());
    this.canvas.addEventListener('pointermove', event => this.point(event));
    this.canvas.addEventListener('pointerdown', event => this.point(event));
    this.canvas.addEventListener('pointerleave', () => this.describe());
    let room = 0;
    new ResizeObserver(([{contentRect}]) => {
      if (contentRect.width === room) return;  // the height follows what is drawn
      room = contentRect.width;
      requestAnimationFrame(() => this.redraw());
    }).observe(this.find('.stage'));
    this.say('');
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  /** Words in the place of the image, which `behind` (an address) shows dimmed if it can. */
  say(text, {isBad = false, behind = ''} = {}) {
    this.view = null;
    this.canvas.hidden = true;
    const message = this.find('.message');
    message.hidden = !text;
    message.textContent = text;
    message.classList.toggle('bad', isBad);
    this.before.hidden = true;  // until it is loaded
    if (behind) this.before.src = behind;
    else this.before.removeAttribute('src');
    this.find('figcaption').textContent = '';
    this.find('.legend').replaceChildren();
    for (const button of this.element.querySelectorAll('button')) button.disabled = true;
  }

  /** Show a prediction on an image as the model read it (an ImageBitmap). */
  show(prediction, image) {
    const {width, height} = prediction.image;
    const scale = Math.min(1, LAYER_SIDE / Math.max(width, height));
    this.view = {
      prediction, image,
      layer: new Layer(prediction.objects, Math.max(Math.round(width * scale), 1),
                       Math.max(Math.round(height * scale), 1)),
      colours: prediction.objects.map(one => rgb(this.model.classes[one.label].colour)),
    };
    this.find('.message').hidden = this.before.hidden = true;
    this.canvas.hidden = false;
    for (const button of this.element.querySelectorAll('button')) button.disabled = false;
    this.writeLegend();
    this.redraw();
  }

  /** Let go of the image; what is drawn stays until something else is shown. */
  release() {
    this.view = null;
  }

  redraw() {
    if (!this.view) return;
    const {prediction} = this.view;
    const {width, height} = prediction.image;
    const room = this.find('.stage').clientWidth;
    const wide = Math.max(Math.floor(Math.min(
      room, innerHeight * TALLEST * width / height, width * LARGEST_ENLARGEMENT)), 1);
    const high = Math.max(Math.round(wide * height / width), 1);
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(wide * ratio);
    this.canvas.height = Math.round(high * ratio);
    this.canvas.style.width = `${wide}px`;
    this.canvas.style.height = `${high}px`;
    this.update();
    draw(this.canvas.getContext('2d'), this.view, ratio);
    this.describe();
  }

  /** Bring what is drawn in line with the settings. */
  update() {
    Object.assign(this.view, {
      visible: shown(this.view.prediction, this.settings.threshold, this.hiddenLabels),
      opacity: this.settings.opacity, names: this.settings.names});
    this.countLegend();
  }

  describe() {
    if (!this.view) return;
    const {prediction, visible} = this.view;
    const seconds = `${prediction.seconds.toFixed(2)} s`;
    const names = visible.slice(0, 12).map(index => this.nameOf(index)).join(', ');
    this.find('figcaption').textContent = isInstances(prediction)
      ? `${visible.length} of ${prediction.objects.length} objects · ${seconds}`
      : `${visible.length} of ${prediction.objects.length} ` +
        `${prediction.task === 'panoptic' ? 'segments' : 'classes'} · ${seconds}`;
    this.canvas.setAttribute('aria-label', `${prediction.image.name}: ${names || 'nothing found'}` +
                             (visible.length > 12 ? ` and ${visible.length - 12} more` : ''));
  }

  nameOf(index) {
    const {prediction} = this.view;
    const one = prediction.objects[index];
    if (one.score !== null) return `${one.name} ${one.score.toFixed(2)}`;
    return `${one.name} ${share(one.area, prediction)}`;
  }

  point(event) {
    if (!this.view) return;
    const box = this.canvas.getBoundingClientRect();
    const index = objectAt(this.view, (event.clientX - box.left) / box.width,
                           (event.clientY - box.top) / box.height);
    if (index < 0) this.describe();
    else this.find('figcaption').textContent = this.nameOf(index);
  }

  writeLegend() {
    const {prediction} = this.view;
    const areas = new Map();
    for (const one of prediction.objects) {
      areas.set(one.label, (areas.get(one.label) || 0) + (isInstances(prediction) ? 1 : one.area));
    }
    this.entries = [...areas].sort((one, other) => other[1] - one[1]).map(([label, area]) => {
      const entry = document.getElementById('entry-template').content.firstElementChild
        .cloneNode(true);
      const {name, colour} = this.model.classes[label];
      const box = entry.querySelector('input');
      box.checked = !this.hiddenLabels.has(label);
      box.addEventListener('change', () => {
        this.hiddenLabels[box.checked ? 'delete' : 'add'](label);
        this.redraw();
      });
      entry.querySelector('.swatch').style.background = colour;
      entry.querySelector('.name').textContent = name;
      if (!isInstances(prediction)) {
        entry.querySelector('.amount').textContent = share(area, prediction);
      }
      return {label, entry};
    });
    this.find('.legend').replaceChildren(...this.entries.map(({entry}) => entry));
  }

  countLegend() {
    const {prediction} = this.view;
    if (!isInstances(prediction)) return;
    for (const {label, entry} of this.entries) {
      const number = prediction.objects.filter(
        one => one.label === label && one.score >= this.settings.threshold).length;
      entry.querySelector('.amount').textContent = number;
      entry.firstElementChild.classList.toggle('empty', !number);
    }
  }

  saveJson() {
    if (!this.view) return;
    const {prediction} = this.view;
    const kept = {...prediction};
    if (isInstances(prediction)) {
      kept.threshold = this.settings.threshold;
      kept.objects = prediction.objects.filter(one => one.score >= kept.threshold);
    }
    save(new Blob([JSON.stringify(kept, null, 1)], {type: 'application/json'}),
         this.fileName('json'));
  }

  async saveImage() {
    if (!this.view) return;
    const {image, prediction} = this.view;
    const canvas = new OffscreenCanvas(image.width, image.height);
    const layer = new Layer(prediction.objects, image.width, image.height);
    const unit = Math.max(1, Math.sqrt(image.width * image.height) / 38 / 13);
    draw(canvas.getContext('2d'), {...this.view, layer}, unit);
    save(await canvas.convertToBlob({type: 'image/png'}), this.fileName('png'));
  }

  fileName(ending) {
    const stem = this.view.prediction.image.name.replace(/\.\w+$/, '');
    return `${stem}.${this.model.name.replace(/[^\w.-]+/g, '_')}.${ending}`;
  }
}

function share(area, prediction) {
  const percent = 100 * area / (prediction.image.width * prediction.image.height);
  return percent < .1 ? '<0.1 %' : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
