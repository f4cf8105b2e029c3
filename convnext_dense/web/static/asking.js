// Requests to the server this page came from.

const MOST_TRIES = 30;

/** The models and limits; an Error whose message can be shown where there is no answer. */
export async function askService() {
  return (await answerOf(fetch('/api/models'))).json();
}

/**
 * A prediction of one model for a file.
 *
 * Waits and asks again while the server is busy; `onWait` is told for how many seconds. Aborted by
 * `signal`.
 */
export async function askPrediction(file, parameters, signal, onWait) {
  const query = new URLSearchParams(parameters);
  for (let tried = 1; ; tried++) {
    const form = new FormData();
    form.append('image', file, file.name || 'pasted image');
    const response = await answerOf(
      fetch(`/api/predict?${query}`, {method: 'POST', body: form, signal}),
      tried < MOST_TRIES ? 503 : undefined);
    if (response.status !== 503) return response.json();
    const seconds = Number(response.headers.get('Retry-After')) || 1;
    onWait(seconds);
    await new Promise(resolve => setTimeout(resolve, seconds * 1000));
    signal.throwIfAborted();
  }
}

async function answerOf(asked, accepted) {
  let response;
  try {
    response = await asked;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error('The server does not answer. Is it still running?');
  }
  if (response.ok || response.status === accepted) return response;
  let detail = `The server answers ${response.status}.`;
  try {
    detail = (await response.json()).detail;
  } catch {}
  throw new Error(detail);
}
