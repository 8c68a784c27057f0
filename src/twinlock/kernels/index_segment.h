/* Segment: one immutable piece of the index, and searching in it. All numbers in it count from its first transaction. */
#ifndef TWINLOCK_INDEX_SEGMENT_H
#define TWINLOCK_INDEX_SEGMENT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "index_rows.h"

enum { BLOCKS, TXIDS, LOOKUP, SCRIPTS, HISTORY, COINS, OUTPOINTS, SPENDS, SECTIONS };
static const Py_ssize_t ROW_SIZE[SECTIONS] = {BLOCK_ROW, 32, 8, SCRIPT_ROW, 4, COIN_ROW, OUTPOINT_ROW, SPEND_ROW};

/* An index has dozens of small segments, and most questions are about something that is in none of them: two bits a
   name or hash, among sixteen times as many, say so at once. `mask` is 0 where there is no filter. */
typedef struct {
    uint64_t *bits, mask;
} filter;

#define FILTERED_UP_TO (1 << 18) /* rows; looking into a segment that is larger is worth it */

static inline void filter_add(filter *f, uint64_t key) {
    f->bits[(key & f->mask) >> 6] |= 1ull << (key & 63);
    key >>= 24;
    f->bits[(key & f->mask) >> 6] |= 1ull << (key & 63);
}

static inline int filtered_out(const filter *f, uint64_t key) {
    if (!f->mask) return 0;
    if (!(f->bits[(key & f->mask) >> 6] >> (key & 63) & 1)) return 1;
    key >>= 24;
    return !(f->bits[(key & f->mask) >> 6] >> (key & 63) & 1);
}

static int filter_make(filter *f, const uint8_t *rows, size_t row_size, size_t count) {
    uint64_t size = 1024;
    if (!count || count > FILTERED_UP_TO) return 0;
    while (size < 16 * count) size *= 2;
    f->bits = calloc(size / 64, 8);
    if (!f->bits) return -1;
    f->mask = size - 1;
    for (size_t i = 0; i < count; i++) filter_add(f, big64(rows + row_size * i));
    return 0;
}

typedef struct {
    PyObject_HEAD
    filter names, hashes;
    Py_buffer view[SECTIONS];
    const uint8_t *at[SECTIONS];
    size_t count[SECTIONS]; /* rows; of SCRIPTS without the closing one */
    uint64_t first_tx, first_height;
} segment;

static void segment_dealloc(segment *s) {
    for (int i = 0; i < SECTIONS; i++)
        if (s->view[i].obj) PyBuffer_Release(&s->view[i]);
    free(s->names.bits), free(s->hashes.bits);
    Py_TYPE(s)->tp_free((PyObject *)s);
}

static PyObject *segment_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *parts[SECTIONS];
    unsigned long long first_height, first_tx;
    if (kwargs && PyDict_GET_SIZE(kwargs)) return PyErr_Format(PyExc_TypeError, "Segment takes no keywords");
    if (!PyArg_ParseTuple(args, "KKOOOOOOOO", &first_height, &first_tx, parts, parts + 1, parts + 2, parts + 3, parts + 4,
                          parts + 5, parts + 6, parts + 7))
        return NULL;
    segment *s = (segment *)type->tp_alloc(type, 0);
    if (!s) return NULL;
    s->first_height = first_height;
    s->first_tx = first_tx;
    for (int i = 0; i < SECTIONS; i++) {
        if (PyObject_GetBuffer(parts[i], &s->view[i], PyBUF_SIMPLE) < 0) goto bad;
        if (s->view[i].len % ROW_SIZE[i]) {
            PyErr_Format(PyExc_ValueError, "section %d is not made of rows of %zd bytes", i, ROW_SIZE[i]);
            goto bad;
        }
        s->at[i] = s->view[i].buf;
        s->count[i] = (size_t)(s->view[i].len / ROW_SIZE[i]);
    }
    if (!s->count[SCRIPTS]) {
        PyErr_SetString(PyExc_ValueError, "the scripts lack their closing row");
        goto bad;
    }
    s->count[SCRIPTS]--;
    if (s->count[TXIDS] && !s->count[BLOCKS]) {
        PyErr_SetString(PyExc_ValueError, "there are transactions, but no block");
        goto bad;
    }
    if (filter_make(&s->names, s->at[SCRIPTS], SCRIPT_ROW, s->count[SCRIPTS]) ||
        filter_make(&s->hashes, s->at[TXIDS], 32, s->count[TXIDS])) {
        PyErr_NoMemory();
        goto bad;
    }
    return (PyObject *)s;
bad:
    Py_DECREF(s);
    return NULL;
}

static PyMemberDef segment_members[] = {
    {"first_tx", T_ULONGLONG, offsetof(segment, first_tx), READONLY, "number of its first transaction"},
    {"first_height", T_ULONGLONG, offsetof(segment, first_height), READONLY, "height of its first block"},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject segment_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "twinlock.kernels._index.Segment",
    .tp_basicsize = sizeof(segment),
    .tp_dealloc = (destructor)segment_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "One immutable piece of the index.",
    .tp_members = segment_members,
    .tp_new = segment_new,
};

/* Rows of another section: from one, up to another that is not included. */
typedef struct {
    uint64_t from, end;
} span;

static inline span span_within(uint64_t from, uint64_t end, uint64_t count) {
    if (end > count) end = count;
    return (span){from < end ? from : end, end};
}

static inline uint64_t first_entry(const uint8_t *script) { return get32(script + 11) | (uint64_t)script[15] << 32; }

/* A script's rows in HISTORY, and in COINS: never outside of them, whatever the script's row says. */
static inline span entries_of(const segment *s, size_t row) {
    const uint8_t *script = s->at[SCRIPTS] + SCRIPT_ROW * row;
    return span_within(first_entry(script), first_entry(script + SCRIPT_ROW), s->count[HISTORY]);
}

static inline span coins_of(const segment *s, size_t row) {
    const uint8_t *script = s->at[SCRIPTS] + SCRIPT_ROW * row;
    return span_within(get32(script + 16), get32(script + SCRIPT_ROW + 16), s->count[COINS]);
}

/* The first of `count` rows whose leading 8 bytes, as a big-endian number, are not below `key`. Names and hashes
   are evenly spread, so guessing by proportion finds them in a few steps; every third step halves, against bad luck. */
static size_t lower_bound(const uint8_t *rows, size_t row_size, size_t count, uint64_t key) {
    size_t low = 0, high = count; /* the answer is in [low, high] */
    uint64_t low_key = 0, high_key = UINT64_MAX;
    for (int step = 0; low < high; step++) {
        size_t middle = low + (high - low) / 2;
        if (step % 3 < 2)
            middle = low + (size_t)((unsigned __int128)(key - low_key) * (high - low) / ((unsigned __int128)(high_key - low_key) + 1));
        uint64_t found = big64(rows + row_size * middle);
        if (found < key) {
            low = middle + 1;
            low_key = found;
        } else {
            high = middle;
            high_key = found;
        }
    }
    return low;
}

/* The script's row, or -1. */
static Py_ssize_t find_script(const segment *s, const uint8_t *hashx) {
    const uint8_t *rows = s->at[SCRIPTS];
    uint64_t key = big64(hashx);
    if (filtered_out(&s->names, key)) return -1;
    for (size_t i = lower_bound(rows, SCRIPT_ROW, s->count[SCRIPTS], key); i < s->count[SCRIPTS]; i++) {
        int order = memcmp(rows + SCRIPT_ROW * i, hashx, HASHX);
        if (order == 0) return (Py_ssize_t)i;
        if (order > 0) break;
    }
    return -1;
}

/* The range of rows that tell of spending the script's older coins. */
static size_t find_spends(const segment *s, const uint8_t *hashx, size_t *end) {
    const uint8_t *rows = s->at[SPENDS];
    size_t count = s->count[SPENDS], i = lower_bound(rows, SPEND_ROW, count, big64(hashx));
    while (i < count && memcmp(rows + SPEND_ROW * i, hashx, HASHX) < 0) i++;
    for (*end = i; *end < count && !memcmp(rows + SPEND_ROW * *end, hashx, HASHX); ++*end)
        ;
    return i;
}

/* The number of a transaction in the segment, or -1; the last one where a hash is there twice. */
static int64_t find_tx(const segment *s, const uint8_t *txid) {
    uint32_t prefix = __builtin_bswap32(get32(txid));
    const uint8_t *rows = s->at[LOOKUP];
    size_t low = 0, high = s->count[LOOKUP];
    if (!high || filtered_out(&s->hashes, big64(txid))) return -1;
    size_t guess = (size_t)(((unsigned __int128)prefix * high) >> 32), width = 16;
    /* A window around the guess that doubles until it holds the prefix, then halving. */
    while (guess >= width && get64(rows + 8 * (guess - width)) >> 32 >= prefix) width *= 2;
    if (guess >= width) low = guess - width;
    for (width = 16; guess + width < high && get64(rows + 8 * (guess + width)) >> 32 < prefix;) width *= 2;
    if (guess + width < high) high = guess + width;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (get64(rows + 8 * middle) >> 32 < prefix) low = middle + 1;
        else high = middle;
    }
    int64_t found = -1;
    for (; low < s->count[LOOKUP]; low++) {
        uint64_t row = get64(rows + 8 * low);
        if (row >> 32 != prefix) break;
        if ((uint32_t)row < s->count[TXIDS] && !memcmp(s->at[TXIDS] + 32 * (uint32_t)row, txid, 32)) found = (uint32_t)row;
    }
    return found;
}

/* The row of the block that holds a transaction. `hint` is a block at or before it. */
static size_t block_of(const segment *s, uint64_t tx, size_t hint) {
    const uint8_t *rows = s->at[BLOCKS];
    size_t low = hint, high = s->count[BLOCKS];
    tx += s->first_tx;
    if (low + 1 < high && get64(rows + BLOCK_ROW * (low + 1)) > tx) return low;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (get64(rows + BLOCK_ROW * middle) <= tx) low = middle;
        else high = middle;
    }
    return low;
}

/* The row of a coin among a script's, which are sorted by outpoint; NULL where it is not there. */
static const uint8_t *coin_at(const segment *s, span coins, uint64_t point) {
    while (coins.from < coins.end) {
        uint64_t half = coins.from + (coins.end - coins.from) / 2;
        const uint8_t *row = s->at[COINS] + COIN_ROW * half;
        uint64_t found = (uint64_t)get32(row) << 32 | get32(row + 4);
        if (found == point) return row;
        if (found < point) coins.from = half + 1;
        else coins.end = half;
    }
    return NULL;
}

/* The script and coin rows of an outpoint in the segment; -1 where it holds no such unspent output. */
static Py_ssize_t find_coin(const segment *s, uint32_t tx, uint32_t vout, const uint8_t **coin_row) {
    uint64_t point = (uint64_t)tx << 32 | vout;
    size_t low = 0, high = s->count[OUTPOINTS];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint8_t *row = s->at[OUTPOINTS] + OUTPOINT_ROW * middle;
        uint64_t found = (uint64_t)get32(row) << 32 | get32(row + 4);
        if (found == point) {
            size_t script = get32(row + 8);
            *coin_row = script < s->count[SCRIPTS] ? coin_at(s, coins_of(s, script), point) : NULL;
            return *coin_row ? (Py_ssize_t)script : -1;
        }
        if (found < point) low = middle + 1;
        else high = middle;
    }
    return -1;
}

#endif
