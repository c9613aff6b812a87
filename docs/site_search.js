// Ranks the results of Sphinx' search: pages in which the words are important are first, and guides are before the reference of
// names, the pages for contributors and the changelog.

var API = /^reference\/api\b/;

var query = () => (new URLSearchParams(window.location.search).get("q") || "").toLowerCase().trim();

var GROUPS = [
  [/^(guides|tutorials)\//, 8],
  [/^reference\/changelog$/, -300],
  [API, -200],
  [/^(design|benchmarks|measurements|optimization|genindex|py-modindex)$/, -100],
  [/^index$/, -10],
];

// `stopwords` is a set, and an array in Sphinx 8.
var words = () => splitQuery(query()).filter((word) => !new Set(stopwords).has(word));

// Who types or pastes that many words has a message: its page is before others. It has names and paths that no page has.
var MESSAGE = { page: "reference/troubleshooting", words: 4, weight: 25 };

// The weight of the words of the query in a page, on average.
function weightOf(page) {
  const number = WEIGHTS.pages.indexOf(page);
  const stemmer = new Stemmer();
  const found = words().map((word) => {
    const stem = stemmer.stemWord(word);
    return (Object.hasOwn(WEIGHTS.words, stem) && WEIGHTS.words[stem][number]) || 0;
  });
  return found.reduce((sum, weight) => sum + weight, 0) / Math.max(found.length, 1);
}

var Scorer = {
  score: ([page, title, anchor, description, score, file, kind]) => {
    // Who types the title of a page looks for this page.
    if (title.toLowerCase() === query() && !API.test(page)) return 100 + score + weightOf(page);
    const group = GROUPS.find(([pattern]) => pattern.test(page));
    const pasted = page === MESSAGE.page && words().length >= MESSAGE.words ? MESSAGE.weight : 0;
    return score + weightOf(page) + (group ? group[1] : 0) + pasted;
  },
  // Sphinx' own numbers.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
