// What the browser remembers; where it is told not to, the page itself does, until it is closed.

/**
 * @param {"localStorage" | "sessionStorage"} area
 * @param {string} key
 * @returns {{get: () => string | null, set: (value: string) => void}}
 */
export function remembered(area, key) {
  let here = null;
  return {
    get() {
      try {
        return window[area].getItem(key);
      } catch {
        return here;
      }
    },
    set(value) {
      here = value;
      try {
        window[area].setItem(key, value);
      } catch {
        // Then it is only remembered here.
      }
    },
  };
}
