// A library that lies beside its document.
function colour(index) {
  "use strict";
  return index > 0.2 ? "blue" : "brown";
}
