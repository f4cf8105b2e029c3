"""A headless Chromium, where the machine has one."""
import base64
import json
import shutil
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
PHONE, DESKTOP = 390, 1440


@contextmanager
def chromium(width, profile, dark=False, offline=True, downloads=None):
    """A browser whose window is this many pixels wide; skips where there is none.

    Args:
        width: ``PHONE`` or ``DESKTOP``.
        profile: an empty folder.
        dark: what the reader prefers.
        offline: whether it has no network.
        downloads: a folder for what a page saves.
    """
    webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed '
                                                                 '(extra: test)')
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which('chromedriver')
    if not binary or not driver:
        pytest.skip('no Chromium and chromedriver here (Debian: apt-get install chromium '
                    'chromium-driver)')
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
                 '--no-first-run', '--disable-background-networking',
                 '--disable-component-update', '--disable-sync', f'--user-data-dir={profile}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', dict(browser='ALL', performance='ALL'))
    browser = webdriver.Chrome(options=options,
                               service=webdriver.ChromeService(executable_path=driver))
    try:
        browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', dict(
            width=width, height=900, deviceScaleFactor=1, mobile=width == PHONE))
        browser.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(features=[dict(
            name='prefers-color-scheme', value='dark' if dark else 'light')]))
        browser.execute_cdp_cmd('Network.enable', {})
        browser.execute_cdp_cmd('Network.emulateNetworkConditions', dict(
            offline=offline, latency=0, downloadThroughput=0 if offline else -1,
            uploadThroughput=0 if offline else -1))
        if downloads:
            browser.execute_cdp_cmd('Browser.setDownloadBehavior', dict(
                behavior='allow', downloadPath=str(downloads)))
        browser.width = width
        yield browser
    finally:
        browser.quit()


def requested(browser):
    """The addresses that the page asked for, those of the browser's start page left out."""
    messages = [json.loads(entry['message'])['message'] for entry in
                browser.get_log('performance')]
    return [message['params']['request']['url'] for message in messages
            if message['method'] == 'Network.requestWillBeSent'
            and not message['params']['documentURL'].startswith('chrome')]


def screenshot(browser, selector='html'):
    """An element as it is seen: RGB, shape (H, W, 3)."""
    box = browser.execute_script('''
        const box = document.querySelector(arguments[0]).getBoundingClientRect();
        return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height,
                scale: 1};''', selector)
    shot = browser.execute_cdp_cmd('Page.captureScreenshot', dict(
        captureBeyondViewport=True, clip=box))
    encoded = np.frombuffer(base64.b64decode(shot['data']), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)
