// What the node answers. A Refused means that the token is not the node's; any other error, that it is out of reach.

const timeoutMilliseconds = 4000;

export class Refused extends Error {}
export class Rejected extends Error {}

// ask gets a path, or with a body posts it as JSON.
export async function ask(path, token, body) {
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: {
      ...(token ? { Authorization: "Bearer " + token } : {}),
      ...(body ? { "Content-Type": "application/json" } : {}),
    },
    body: body && JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(timeoutMilliseconds),
  });
  if (response.ok) return response.json();
  const detail = await response.json().then((problem) => problem.detail, () => response.statusText);
  if (response.status === 401) throw new Refused(detail);
  throw new Rejected(detail);
}

// poll calls ask for a path every second, and slower while it fails; it ends when the signal does or the token is
// refused. Each answer goes to on.answer, each failure to on.failure with the seconds until the next try.
export async function poll(path, token, signal, on) {
  let failures = 0;
  while (!signal.aborted) {
    const begun = performance.now();
    let pause = 1000;
    try {
      const answer = await ask(path, token());
      if (signal.aborted) return;
      failures = 0;
      on.answer(answer);
      pause = Math.max(200, 1000 - (performance.now() - begun));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) return on.refused(error.message);
      failures++;
      pause = Math.min(5000, 1000 * failures);
      on.failure(error, pause / 1000);
    }
    await sleep(pause, signal);
  }
}

function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}
