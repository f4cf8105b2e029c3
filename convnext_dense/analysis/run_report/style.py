"""Look and behaviour of a run's report: a style sheet for light and dark, and a short script."""
from convnext_dense.analysis.palette import COLOURS, DARK_COLOURS, DARK_PAPER, PAPER
from convnext_dense.analysis.run_report.line_chart import LEFT, RIGHT, WIDTH


def _variables(colours, paper):
    return ' '.join([f'--paper: {paper};', *(f'--c{index}: {colour};'
                                             for index, colour in enumerate(colours))])


_COLOURS = f'''
:root {{ color-scheme: light dark; --ink: #1a1a1a; --soft: #5f5f5f; --line: #d9d9d9;
        --card: #f6f6f6; --good: #1b6e3c; --bad: #a3261d; --busy: #0069b4;
        {_variables(COLOURS, PAPER)} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8e8e8; --soft: #a8a8a8; --line: #3d3d3d; --card: #1f1f1f; --good: #3fa568;
          --bad: #e2695f; --busy: #4ba3e3; {_variables(DARK_COLOURS, DARK_PAPER)} }}
}}
'''

STYLE = _COLOURS + '\n'.join(f'.c{index} {{ --colour: var(--c{index}); }}'
                              for index in range(len(COLOURS))) + '''
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 16px clamp(16px, 3vw, 32px) 48px;
       color: var(--ink); background: var(--paper);
       font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; display: flex; flex-wrap: wrap; gap: .2em .6em;
     align-items: center; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2em 0 .6em; padding-top: .6em;
     border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2em 0 .4em; overflow-wrap: anywhere; }
p { margin: .3em 0; max-width: 80ch; overflow-wrap: anywhere; }
.note, time { color: var(--soft); font-size: .875rem; }
.state { font-size: .875rem; font-weight: 600; padding: .15em .8em; border-radius: 1em;
         border: 2px solid currentColor; color: var(--soft); }
.running { color: var(--busy); }
.finished { color: var(--good); }
.failed, .killed, .why { color: var(--bad); }
progress { width: 100%; height: 8px; margin: .6em 0 0; appearance: none; border: 0;
           border-radius: 4px; overflow: hidden; background: var(--line); }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--busy); }
progress::-moz-progress-bar { background: var(--busy); }
.tiles { display: grid; gap: 12px; margin: 1.2em 0 0;
         grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); }
.tiles div { padding: 12px 14px; border-radius: 8px; background: var(--card); min-width: 0; }
dt { color: var(--soft); font-size: .875rem; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
.tiles dd:nth-of-type(1) { font-size: 1.35rem; font-weight: 600; line-height: 1.3; }
.charts { display: grid; gap: 28px 32px; align-items: start;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); }
.charts:has(figure:nth-child(4)) .chart { max-width: 640px; }
figure { margin: 0; min-width: 0; }
.chart figcaption { font-weight: 600; }
.chart > svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
svg text { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums; }
svg .rule, .cursor { vector-effect: non-scaling-stroke; }
svg .rule { stroke: var(--line); stroke-width: 1px; }
.cursor { stroke: var(--ink); stroke-width: 1px; visibility: hidden; }
.curve polyline, .curve line { fill: none; stroke: var(--colour); stroke-width: 2px;
                               stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.curve circle { fill: var(--colour); }
.legend { list-style: none; margin: .4em 0 0; padding: 0; display: grid; gap: 0 18px;
          grid-template-columns: repeat(auto-fill, minmax(min(100%, 200px), 1fr));
          font-size: .875rem; }
.legend li { display: flex; gap: 8px; align-items: baseline; min-width: 0; }
.legend svg { width: 24px; height: 10px; flex: none; }
.legend span { overflow-wrap: anywhere; flex: 1; }
.legend b { font-variant-numeric: tabular-nums; font-weight: 600; }
.strip { display: flex; gap: 12px; overflow-x: auto; padding-bottom: 8px;
         scroll-snap-type: x proximity; }
.strip figure { flex: 0 0 min(82%, 320px); scroll-snap-align: start; }
.grid { display: grid; gap: 16px;
           grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
@media (max-width: 600px) { .grid { grid-template-columns: 1fr 1fr; gap: 12px; } }
.zoom { display: block; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in;
        border-radius: 6px; overflow: hidden; }
.zoom img { display: block; width: 100%; height: auto; }
:focus-visible { outline: 3px solid var(--busy); outline-offset: 2px; }
figure:not(.chart) figcaption { font-size: .875rem; margin-top: .3em; overflow-wrap: anywhere; }
ul { padding-left: 1.2em; margin: .3em 0; }
li { overflow-wrap: anywhere; }
.facts { display: grid; gap: 8px 24px; margin: 0;
         grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); }
dialog { border: 0; padding: 0; max-width: 96vw; max-height: 96vh; background: none;
         overflow: hidden; }
dialog img { display: block; max-width: 96vw; max-height: 96vh; cursor: zoom-out;
             width: min(96vw, 1280px); height: auto; object-fit: contain; }
dialog::backdrop { background: rgb(0 0 0 / .8); }
@media print { .zoom { cursor: auto; } section { break-inside: avoid-page; } }
'''

SCRIPT = '''
const dialog = document.querySelector('dialog');
for (const button of document.querySelectorAll('.zoom')) {
    button.addEventListener('click', () => {
        const [from, to] = [button.firstElementChild, dialog.firstElementChild];
        to.src = from.src;
        to.alt = from.alt;
        dialog.showModal();
    });
}
dialog.addEventListener('click', () => dialog.close());

// the values at a step, where the pointer is over a chart
const number = value => Math.abs(value) >= 1e6 ? +(value / 1e6).toPrecision(3) + 'M' :
    Math.abs(value) >= 1e4 ? +(value / 1e3).toPrecision(3) + 'k' : String(+value.toPrecision(4));
for (const chart of document.querySelectorAll('.chart')) {
    const svg = chart.querySelector(':scope > svg'), cursor = svg.querySelector('.cursor');
    const caption = chart.querySelector('figcaption'), title = caption.textContent;
    const data = JSON.parse(chart.querySelector('script').textContent);
    const values = [...chart.querySelectorAll('.legend b')];
    const shown = values.map(value => value.textContent);
    const [left, right] = [__LEFT__, __WIDTH__ - __RIGHT__];
    const reset = () => {
        cursor.style.visibility = 'hidden';
        caption.textContent = title;
        values.forEach((value, index) => value.textContent = shown[index]);
    };
    svg.addEventListener('pointerleave', reset);
    svg.addEventListener('pointermove', event => {
        const box = svg.getBoundingClientRect();
        const x = (event.clientX - box.left) / box.width * __WIDTH__;
        const share = Math.min(1, Math.max(0, (x - left) / (right - left)));
        const wanted = data.first + share * (data.last - data.first);
        const nearest = points => points.reduce((best, point) =>
            Math.abs(point[0] - wanted) < Math.abs(best[0] - wanted) ? point : best);
        const found = data.curves.map(nearest);
        const step = nearest(found)[0];
        const place = left + (step - data.first) / (data.last - data.first) * (right - left);
        cursor.setAttribute('x1', place);
        cursor.setAttribute('x2', place);
        cursor.style.visibility = 'visible';
        caption.textContent = `${title}, step ${Math.round(step)}`;
        values.forEach((value, index) => value.textContent = number(found[index][1]));
    });
}

const time = document.querySelector('time'), written = time.textContent;
const tell = () => {
    const minutes = Math.round((Date.now() / 1000 - time.dataset.seconds) / 60);
    time.textContent = written + (minutes < 1 ? '' : minutes < 120 ? `, ${minutes} min ago` :
        `, ${Math.round(minutes / 60)} hours ago`);
};
const reload = +document.body.dataset.reload;
if (reload) {
    tell();
    setInterval(() => {
        tell();
        if (!dialog.open && !document.hidden && !document.querySelector('.chart > svg:hover'))
            location.reload();
    }, 1000 * reload);
}
'''
for _name, _units in (('__LEFT__', LEFT), ('__RIGHT__', RIGHT), ('__WIDTH__', WIDTH)):
    SCRIPT = SCRIPT.replace(_name, str(_units))
