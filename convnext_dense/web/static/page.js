// The page: images come in, every model is asked about each, the chosen one is shown.
import {askPrediction, askService} from './asking.js';
import {Panel} from './panel.js';

const byId = id => document.getElementById(id);
const settings = {threshold: .3, opacity: .5, names: true};
let service = null;
let panels = [];
const images = [];  // {file, entry, answers (by model: {prediction} or {error}), preview, abort}
let chosen = null;
let drawn = null;  // {item, bitmap (a promise)}: the image of the chosen item
const working = new Set();  // models that are being asked

start();

async function start() {
  try {
    service = await askService();
  } catch (error) {
    trouble(error.message);
    return;
  }
  const names = service.models.map(model => model.name);
  byId('title').textContent = names.join(' and ');
  document.title = `${names.join(' and ')} · convnext-dense`;
  byId('about').textContent = [...new Set(service.models.map(model =>
    `${model.task === 'instances' ? 'detector' : 'segmenter'}, ${model.classes.length} ` +
    `${model.classes.length === 1 ? 'class' : 'classes'}`))].join(' · ');
  byId('limits').textContent = `Up to ${+(service.max_bytes / 2 ** 20).toFixed(1)} MiB and ` +
    `${+(service.max_pixels / 1e6).toFixed(2)} million pixels each.`;
  settings.threshold = service.threshold;
  byId('threshold').min = service.lowest;
  byId('threshold').value = service.threshold;
  byId('threshold-control').hidden = service.models.every(model => model.task !== 'instances');
  panels = service.models.map(model => new Panel(model, settings));
  byId('panels').replaceChildren(...panels.map(panel => panel.element));
  byId('panels').classList.toggle('two', panels.length > 1);
  listen();
  writeSettings();
}

function listen() {
  byId('files').addEventListener('change', event => {
    add(event.target.files);
    event.target.value = '';
  });
  for (const kind of ['dragenter', 'dragover']) {
    document.addEventListener(kind, event => {
      event.preventDefault();
      document.body.classList.add('over');
    });
  }
  document.addEventListener('dragleave', event => {
    if (!event.relatedTarget) document.body.classList.remove('over');
  });
  document.addEventListener('drop', event => {
    event.preventDefault();
    document.body.classList.remove('over');
    add(event.dataTransfer.files);
  });
  document.addEventListener('paste', event => add(event.clipboardData.files));
  byId('clear').addEventListener('click', clear);
  for (const id of ['threshold', 'opacity', 'names']) {
    byId(id).addEventListener('input', () => {
      settings.threshold = Number(byId('threshold').value);
      settings.opacity = Number(byId('opacity').value);
      settings.names = byId('names').checked;
      writeSettings();
      for (const panel of panels) panel.redraw();
    });
  }
  let isWaiting = false;
  addEventListener('resize', () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      for (const panel of panels) panel.redraw();
    });
  });
}

function writeSettings() {
  byId('threshold-value').textContent = settings.threshold.toFixed(2);
  byId('opacity-value').textContent = `${Math.round(100 * settings.opacity)} %`;
}

function trouble(text) {
  byId('trouble').textContent = text;
  byId('trouble').hidden = !text;
}

// -- images ------------------------------------------------------------------------------------

function add(files) {
  if (!files.length) return;
  trouble('');
  let first = null;
  for (const file of files) {
    const item = {file, answers: new Map(), preview: null, abort: new AbortController()};
    if (file.size > service.max_bytes) {
      const error = `${file.name} has ${(file.size / 2 ** 20).toFixed(1)} MiB, more than the ` +
        `${+(service.max_bytes / 2 ** 20).toFixed(1)} that are taken here.`;
      for (const model of service.models) item.answers.set(model.name, {error});
    }
    item.entry = entryOf(item);
    images.push(item);
    byId('images').append(item.entry);
    mark(item);
    first ??= item;
  }
  byId('work').hidden = false;
  document.body.classList.add('at-work');
  choose(first);
  for (const model of service.models) work(model);
}

function entryOf(item) {
  const entry = byId('image-template').content.firstElementChild.cloneNode(true);
  const image = entry.querySelector('img');
  item.url = URL.createObjectURL(item.file);
  image.src = item.url;
  image.addEventListener('error', () => image.replaceWith(
    (item.file.name.match(/\.(\w{1,5})$/)?.[1] || 'file').toUpperCase()));
  entry.querySelector('.name').textContent = item.file.name || 'pasted image';
  entry.querySelector('button').title = item.file.name || 'pasted image';
  entry.querySelector('button').addEventListener('click', () => choose(item));
  return entry;
}

function mark(item) {
  const answers = [...item.answers.values()];
  item.entry.querySelector('.state').dataset.state = answers.some(answer => answer.error)
    ? 'bad' : answers.length < service.models.length ? 'busy' : 'done';
}

function choose(item) {
  chosen = item;
  for (const other of images) {
    other.entry.querySelector('button').setAttribute('aria-current', other === item);
  }
  item.entry.scrollIntoView({block: 'nearest', inline: 'nearest'});
  show();
}

function clear() {
  for (const item of images) {
    item.abort.abort();
    URL.revokeObjectURL(item.url);
  }
  images.length = 0;
  chosen = null;
  byId('images').replaceChildren();
  byId('work').hidden = true;
  document.body.classList.remove('at-work');
  for (const panel of panels) panel.say('');
  byId('files').focus();
}

// -- what the models say -----------------------------------------------------------------------

/** Ask a model about one image after the other, the chosen one first, until all are answered. */
async function work(model) {
  if (working.has(model)) return;
  working.add(model);
  const isOpen = item => !item.answers.has(model.name);
  let item;
  while ((item = chosen && isOpen(chosen) ? chosen : images.find(isOpen))) {
    const answer = await ask(model, item);
    item.answers.set(model.name, answer);
    if (!images.includes(item)) continue;  // it was removed meanwhile
    mark(item);
    byId('status').textContent = answer.error || `${item.file.name}: ${model.name} found ` +
      `${answer.prediction.objects.length}`;
    if (item === chosen) show();
  }
  working.delete(model);
}

async function ask(model, item) {
  const panel = panels[service.models.indexOf(model)];
  try {
    const prediction = await askPrediction(item.file, {
      model: model.name, threshold: service.lowest, preview: !item.preview,
    }, item.abort.signal, seconds => {
      if (item !== chosen) return;
      panel.say(`The server is busy; asking again in ${seconds} s.`, {behind: item.url});
    });
    if (prediction.preview) item.preview ??= jpegOf(prediction.preview);
    delete prediction.preview;
    return {prediction};
  } catch (error) {
    return {error: error.message};
  }
}

function jpegOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), letter => letter.charCodeAt(0))],
                  {type: 'image/jpeg'});
}

async function show() {
  const item = chosen;
  for (const [index, model] of service.models.entries()) {
    const answer = item.answers.get(model.name);
    if (!answer) panels[index].say('Looking …', {behind: item.url});
    else if (answer.error) panels[index].say(answer.error, {isBad: true});
  }
  if (!item.preview) return;
  if (drawn?.item !== item) {
    for (const panel of panels) panel.release();
    drawn?.bitmap.then(bitmap => bitmap.close());
    drawn = {item, bitmap: createImageBitmap(item.preview)};
  }
  const bitmap = await drawn.bitmap;
  if (item !== chosen) return;
  for (const [index, model] of service.models.entries()) {
    const {prediction} = item.answers.get(model.name) || {};
    if (prediction && panels[index].view?.prediction !== prediction) {
      panels[index].show(prediction, bitmap);
    }
  }
}
