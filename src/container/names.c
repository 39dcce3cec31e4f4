#include "container/names.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <sys/random.h>

static const char *const adjectives[] = {
    "agile",    "amber",   "apt",    "balmy",   "bold",   "brisk",   "calm",   "candid", "cheery",  "civil",
    "clear",    "cosy",    "crisp",  "daring",  "deft",   "dewy",    "eager",  "early",  "earnest", "even",
    "exact",    "fair",    "fleet",  "fluent",  "fond",   "free",    "fresh",  "gentle", "glad",    "golden",
    "graceful", "green",   "hale",   "handy",   "hardy",  "honest",  "humble", "ideal",  "jaunty",  "jolly",
    "just",     "keen",    "kind",   "lively",  "loyal",  "lucid",   "lunar",  "mellow", "merry",   "mild",
    "modest",   "neat",    "nimble", "noble",   "open",   "patient", "plain",  "plucky", "polite",  "prompt",
    "proud",    "quick",   "quiet",  "ready",   "robust", "rosy",    "rustic", "sandy",  "serene",  "sharp",
    "silver",   "sincere", "smooth", "snug",    "sober",  "solar",   "solid",  "spry",   "steady",  "sturdy",
    "sunny",    "supple",  "sure",   "swift",   "tender", "thrifty", "tidy",   "trim",   "trusty",  "upbeat",
    "vivid",    "warm",    "wary",   "willing", "witty",  "zesty",
};

// People who moved science and engineering on.
static const char *const surnames[] = {
    "abel",      "agnesi",  "aiken",        "amdahl",    "ampere",   "archimedes", "avogadro", "backus",
    "bacon",     "banach",  "bell",         "bernoulli", "bessel",   "boole",      "bose",     "boyle",
    "brahe",     "braun",   "cantor",       "carnot",    "cauchy",   "cayley",     "celsius",  "chebyshev",
    "clarke",    "codd",    "copernicus",   "coulomb",   "cray",     "curie",      "dalton",   "darwin",
    "descartes", "diesel",  "dijkstra",     "dirac",     "doppler",  "edison",     "einstein", "engelbart",
    "erdos",     "euclid",  "euler",        "faraday",   "fermat",   "fermi",      "feynman",  "fibonacci",
    "foucault",  "fourier", "franklin",     "galileo",   "galois",   "galvani",    "gauss",    "germain",
    "gibbs",     "goedel",  "hamilton",     "hamming",   "hertz",    "hilbert",    "hoare",    "hooke",
    "hopper",    "hubble",  "humboldt",     "huygens",   "joule",    "kelvin",     "kepler",   "kirchhoff",
    "kleene",    "knuth",   "kovalevskaya", "lagrange",  "lamarr",   "laplace",    "leibniz",  "linnaeus",
    "lovelace",  "mach",    "markov",       "maxwell",   "mccarthy", "meitner",    "mendel",   "mirzakhani",
    "napier",    "newton",  "noether",      "nobel",     "ohm",      "oersted",    "pascal",   "pasteur",
    "peano",     "perlman", "planck",       "poincare",  "ptolemy",  "ramanujan",  "riemann",  "ritchie",
    "roentgen",  "rubin",   "rutherford",   "shannon",   "sinclair", "stokes",     "tesla",    "thales",
    "torvalds",  "turing",  "volta",        "watt",      "weber",    "wiener",     "wilkes",   "wirth",
    "zuse",
};

char *name_generate(unsigned attempt)
{
    unsigned short random[2] = { 0 };
    unsigned char digit = 0;
    if (getrandom(random, sizeof random, 0) < 0 || getrandom(&digit, 1, 0) < 0)
        random[0] = (unsigned short)attempt; // a worse name is still a name
    const char *adjective = adjectives[random[0] % (sizeof adjectives / sizeof *adjectives)];
    const char *surname = surnames[random[1] % (sizeof surnames / sizeof *surnames)];
    if (attempt == 0)
        return xasprintf("%s_%s", adjective, surname);
    return xasprintf("%s_%s%u", adjective, surname, attempt < 5 ? digit % 10u : digit * 100u + attempt);
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int name_check(const char *name, struct error *err)
{
    size_t n = strlen(name);
    bool is_valid = n >= 2 && n <= NAME_MAX_LEN && is_name_start(name[0]);
    for (size_t i = 1; is_valid && i < n; i++)
        is_valid = is_name_start(name[i]) || name[i] == '_' || name[i] == '.' || name[i] == '-';
    if (!is_valid)
        return error_set(err, ERROR_INVALID,
                         "Invalid container name (%.255s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name);
    return 0;
}
