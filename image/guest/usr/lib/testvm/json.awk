# Prints each scalar of a JSON document as PATH<TAB>VALUE, path elements joined by "/". Newlines inside
# strings become the two characters \n, so that one value is one line.
function skip() { while (pos <= len && index(" \t\r\n", substr(doc, pos, 1))) pos++ }
function str(    c, out) {
  pos++
  while (pos <= len) {
    c = substr(doc, pos++, 1)
    if (c == "\"") return out
    if (c != "\\") { out = out c; continue }
    c = substr(doc, pos++, 1)
    if (c == "u") { pos += 4; c = "?" } else if (c == "n") c = "\\n"
    else if (c == "t") c = " "
    else if (c == "r" || c == "b" || c == "f") c = ""
    out = out c
  }
  return out
}
function value(path,    c, n, key) {
  skip(); c = substr(doc, pos, 1)
  if (c == "\"") { print path "\t" str(); return }
  if (c == "{" || c == "[") {
    pos++; n = 0
    while (1) {
      skip()
      if (pos > len || index("}]", substr(doc, pos, 1))) { pos++; return }
      if (substr(doc, pos, 1) == ",") { pos++; continue }
      if (c == "{") { key = str(); skip(); pos++ } else key = n++
      value(path "/" key)
    }
  }
  if (match(substr(doc, pos), /^[^],} \t\r\n]+/)) {
    print path "\t" substr(doc, pos, RLENGTH); pos += RLENGTH
  } else pos++
}
{ doc = doc $0 "\n" }
END { pos = 1; len = length(doc); value("") }
