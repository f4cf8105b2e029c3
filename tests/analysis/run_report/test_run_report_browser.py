"""The page of a run as a reader's browser shows it: phone and desktop, light and dark, offline."""
import pytest
from browsing import DESKTOP, PHONE, chromium, requested, screenshot
from example_run import whole_run

from convnext_dense.analysis import palette
from convnext_dense.analysis.run_report import write_run_report

VIEWS = [(PHONE, False), (PHONE, True), (DESKTOP, False), (DESKTOP, True)]


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('work') / 'fruit'
    work_dir.mkdir()
    whole_run(work_dir)
    return write_run_report(work_dir)


@pytest.fixture(scope='module', params=VIEWS, ids=[
    'phone', 'phone-dark', 'desktop', 'desktop-dark'])
def browser(request, page, tmp_path_factory):
    width, dark = request.param
    with chromium(width, tmp_path_factory.mktemp('profile'), dark) as browser:
        browser.dark = dark
        browser.get(page.as_uri())
        yield browser


def test_the_page_fits_the_width(browser):
    width, outside = browser.execute_script('''
        const strip = element => element.closest('.strip');
        return [document.documentElement.scrollWidth,
                [...document.querySelectorAll('body *')].filter(element => {
                    const box = element.getBoundingClientRect();
                    return !strip(element) && box.width && (box.left < 0 || box.right > innerWidth);
                }).map(element => element.outerHTML.slice(0, 80))];''')
    assert width <= browser.width and outside == []


def test_text_can_be_read(browser):
    sizes = browser.execute_script('''
        return [...document.querySelectorAll('p, dt, dd, li, h3, figcaption, svg text')]
            .filter(item => item.textContent.trim())
            .map(item => {
                const scale = item.ownerSVGElement ? item.ownerSVGElement.getBoundingClientRect()
                    .width / item.ownerSVGElement.viewBox.baseVal.width : 1;
                return [scale * parseFloat(getComputedStyle(item).fontSize), item.textContent]; });
        ''')
    assert len(sizes) > 60
    assert min(sizes)[0] >= 11, min(sizes)


def test_text_stands_out_of_the_page(browser):
    """WCAG's contrast of 4.5, for each colour that a text has."""
    pairs = browser.execute_script('''
        const background = element => {
            for (; element; element = element.parentElement) {
                const colour = getComputedStyle(element).backgroundColor;
                if (!colour.endsWith(', 0)')) return colour;
            }
            return 'rgb(255, 255, 255)';
        };
        return [...document.querySelectorAll('h1, h2, h3, p, dt, dd, li, figcaption, .state, time')]
            .map(item => [getComputedStyle(item).color, background(item), item.className]);''')
    for ink, paper, name in {tuple(pair) for pair in pairs}:
        dark, light = sorted(map(luminance, (ink, paper)))
        assert (light + .05) / (dark + .05) >= 4.5, (ink, paper, name)


def luminance(colour):
    values = [float(value) / 255 for value in colour.split('(')[1].rstrip(')').split(',')[:3]]
    linear = [value / 12.92 if value <= .04045 else ((value + .055) / 1.055)**2.4
              for value in values]
    return sum(part * value for part, value in zip((.2126, .7152, .0722), linear))


def test_curves_have_the_colours_that_were_checked(browser):
    colours = palette.DARK_COLOURS if browser.dark else palette.COLOURS
    pixels = screenshot(browser, '.chart > svg')
    rgb = [int(colours[0][i:i + 2], 16) for i in (1, 3, 5)]
    assert (abs(pixels - rgb).max(axis=2) < 30).sum() > 100
    paper = [int((palette.DARK_PAPER if browser.dark else palette.PAPER)[i:i + 2], 16)
             for i in (1, 3, 5)]
    assert (pixels[:3, :3] == paper).all()


def test_labels_of_an_axis_do_not_overlap(browser):
    overlaps = browser.execute_script('''
        const found = [];
        for (const svg of document.querySelectorAll('.chart > svg')) {
            const texts = [...svg.querySelectorAll('text')];
            const boxes = texts.map(text => text.getBoundingClientRect());
            for (let i = 0; i < boxes.length; i++)
                for (let j = 0; j < i; j++)
                    if (boxes[i].left < boxes[j].right && boxes[j].left < boxes[i].right &&
                        boxes[i].top + 3 < boxes[j].bottom && boxes[j].top + 3 < boxes[i].bottom)
                        found.push([texts[i].textContent, texts[j].textContent]);
        }
        return found;''')
    assert overlaps == []


def test_pointing_at_a_chart_shows_the_values_of_a_step(browser):
    shown = browser.execute_script('''
        const chart = document.querySelector('.chart'), svg = chart.querySelector(':scope > svg');
        const box = svg.getBoundingClientRect();
        const read = () => [chart.querySelector('figcaption').textContent,
                            chart.querySelector('.legend b').textContent];
        svg.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width / 2}));
        const pointed = read();
        svg.dispatchEvent(new PointerEvent('pointerleave'));
        return [...pointed, ...read()];''')
    assert shown == ['Loss, step 30', '2', 'Loss', '1'] or shown[0] == 'Loss, step 20'


def test_a_drawing_opens_in_full_and_closes_by_keyboard(browser):
    from selenium.webdriver.common.keys import Keys
    button = browser.find_element('css selector', '.zoom')
    button.send_keys(Keys.ENTER)
    is_open = 'return document.querySelector("dialog").open'
    assert browser.execute_script(is_open)
    assert browser.execute_script(
        'return document.querySelector("dialog img").getBoundingClientRect().width') > 200
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.execute_script(is_open)


def test_nothing_is_fetched_and_nothing_fails(browser):
    assert browser.get_log('browser') == []
    urls = requested(browser)
    assert urls and all(url.startswith(('file:', 'data:')) for url in urls)


def test_a_running_page_reloads_itself(page, tmp_path_factory):
    from selenium.webdriver.support.ui import WebDriverWait
    text = page.read_text().replace('data-reload="0"', 'data-reload="1"')
    assert 'data-reload="1"' in text
    copy = tmp_path_factory.mktemp('page') / 'report.html'
    copy.write_text(text)
    with chromium(DESKTOP, tmp_path_factory.mktemp('profile')) as browser:
        browser.get(copy.as_uri())
        copy.write_text(text.replace('<h1>fruit', '<h1>news'))
        WebDriverWait(browser, 20).until(lambda b: 'news' in b.find_element(
            'css selector', 'h1').text)
