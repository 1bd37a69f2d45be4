// The token: from the URL's fragment into this tab's storage, never into a URL that a server sees.

const key = "weir.token";

// take returns the token of this tab, after moving one out of the address bar.
export function take() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const fresh = fragment.get("token");
  if (fresh) {
    fragment.delete("token");
    const rest = fragment.toString();
    history.replaceState(null, "", location.pathname + location.search + (rest ? "#" + rest : ""));
    keep(fresh);
  }
  return sessionStorage.getItem(key) ?? "";
}

export function keep(token) {
  sessionStorage.setItem(key, token.trim());
}

export function forget() {
  sessionStorage.removeItem(key);
}
