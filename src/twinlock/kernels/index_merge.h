/* Several adjacent segments into one: at once, or part by part, so that it takes little memory however large they are. */
#ifndef TWINLOCK_INDEX_MERGE_H
#define TWINLOCK_INDEX_MERGE_H

#include "index_connect.h"

/* Whether a later one of the merged segments spends a coin; `gone` is sorted. */
static int is_gone(const outpoint *gone, size_t count, uint64_t tx, uint32_t vout) {
    uint64_t point = tx << 32 | vout;
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (gone[middle].point < point) low = middle + 1;
        else high = middle;
    }
    return low < count && gone[low].point == point;
}

/* The rows of a section sorted by name, of which one part holds those whose leading bits are its number. */
static size_t part_start(const uint8_t *rows, size_t row_size, size_t count, unsigned part, int bits) {
    return part >> bits ? count : lower_bound(rows, row_size, count, bits ? (uint64_t)part << (64 - bits) : 0);
}

static int merge_one(const segment *s, uint64_t first_tx, unsigned part, int bits, const vec *gone, vec *touches, vec *unspent) {
    uint64_t shift = s->first_tx - first_tx;
    size_t row = part_start(s->at[SCRIPTS], SCRIPT_ROW, s->count[SCRIPTS], part, bits);
    size_t end = part_start(s->at[SCRIPTS], SCRIPT_ROW, s->count[SCRIPTS], part + 1, bits);
    for (; row < end; row++) {
        const uint8_t *name = s->at[SCRIPTS] + SCRIPT_ROW * row;
        uint64_t hi = big64(name), lo = name_lo(name);
        span entries = entries_of(s, row), coins = coins_of(s, row);
        for (uint64_t i = entries.from; i < entries.end; i++)
            if (push_touch(touches, hi, lo >> 40, (uint32_t)(get32(s->at[HISTORY] + 4 * i) + shift)) < 0) return -1;
        for (uint64_t i = coins.from; i < coins.end; i++) {
            const uint8_t *c = s->at[COINS] + COIN_ROW * i;
            uint64_t tx = get32(c) + shift;
            if (is_gone(ROWS(gone, outpoint), COUNT(gone, outpoint), tx, get32(c + 4))) continue;
            coin *out = vec_push(unspent, sizeof *out);
            if (!out) return -1;
            *out = (coin){hi, lo | tx << 8, get64(c + 8), get32(c + 4), 0};
        }
    }
    return 0;
}

/* What one part of adjacent segments holds together. What spends a coin is under the same name as the coin. */
static int merge_rows(PyObject *segments, unsigned part, int bits, vec *touches, vec *unspent, vec *spends) {
    uint64_t first_tx = SEGMENT(segments, 0)->first_tx;
    vec gone = {0};
    int failed = 0;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments) && !failed; k++) {
        segment *s = SEGMENT(segments, k);
        size_t i = part_start(s->at[SPENDS], SPEND_ROW, s->count[SPENDS], part, bits);
        size_t end = part_start(s->at[SPENDS], SPEND_ROW, s->count[SPENDS], part + 1, bits);
        for (; i < end && !failed; i++) {
            const uint8_t *row = s->at[SPENDS] + SPEND_ROW * i;
            uint64_t tx = get64(row + 16);
            if (tx >= first_tx) {
                outpoint *point = vec_push(&gone, sizeof *point);
                failed = !point;
                if (point) *point = (outpoint){(tx - first_tx) << 32 | get32(row + 12), 0, 0};
                continue;
            }
            spend *out = vec_push(spends, sizeof *out);
            failed = !out;
            if (out)
                *out = (spend){big64(row), name_lo(row), tx, get64(row + 24), get32(row + 12),
                               (uint32_t)(get32(row + 32) + s->first_tx - first_tx)};
        }
    }
    sort_outpoints(ROWS(&gone, outpoint), COUNT(&gone, outpoint));
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments) && !failed; k++)
        failed = merge_one(SEGMENT(segments, k), first_tx, part, bits, &gone, touches, unspent);
    vec_free(&gone);
    return failed;
}

/* The tuple and its segments do not change while Python's lock is let go, and the caller holds them. */
static PyObject *merge(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer txids;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*", &segments, &txids)) return NULL;
    vec touches = {0}, unspent = {0}, spends = {0};
    PyObject *result = NULL;
    if (check_segments(segments) == 0 && !PyTuple_GET_SIZE(segments))
        PyErr_SetString(PyExc_ValueError, "at least one segment is wanted");
    if (!PyErr_Occurred()) {
        int failed;
        Py_BEGIN_ALLOW_THREADS;
        failed = merge_rows(segments, 0, 0, &touches, &unspent, &spends);
        Py_END_ALLOW_THREADS;
        result = failed ? PyErr_NoMemory() : sections_result(&touches, &unspent, &spends, txids.buf, (size_t)txids.len / 32);
    }
    vec_free(&touches), vec_free(&unspent), vec_free(&spends);
    PyBuffer_Release(&txids);
    return result;
}

/* Parts are told by the leading bits of names; -1 with an error where the arguments are not a part of segments. */
static int merge_args(PyObject *args, const char *format, PyObject **segments, unsigned *part, int *bits, unsigned long long before[3]) {
    if (!PyArg_ParseTuple(args, format, segments, part, bits, before, before + 1, before + 2)) return -1;
    if (check_segments(*segments) < 0) return -1;
    if (PyTuple_GET_SIZE(*segments) && *bits >= 0 && *bits <= 16 && !(*part >> *bits)) return 0;
    PyErr_SetString(PyExc_ValueError, "there are up to 2 ** 16 parts, numbered from 0, of at least one segment");
    return -1;
}

static PyObject *merge_part(PyObject *self, PyObject *args) {
    PyObject *segments;
    unsigned part;
    int bits, failed;
    unsigned long long before[3] = {0};
    (void)self;
    if (merge_args(args, "OIiKKK", &segments, &part, &bits, before) < 0) return NULL;
    vec touches = {0}, unspent = {0}, spends = {0}, points = {0};
    sections s = {0};
    Py_BEGIN_ALLOW_THREADS;
    failed = merge_rows(segments, part, bits, &touches, &unspent, &spends) ||
             assemble(&s, &touches, &unspent, bits, before[1], before[2], before[0]) || put_outpoints(&s.points, &points) ||
             put_spends(&spends, &s.spends);
    if (!failed && (part + 1) >> bits)
        failed = close_scripts(&s, before[1] + s.history.size / 4, before[2] + s.coins.size / COIN_ROW);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? no_sections(&s)
                              : Py_BuildValue("y#y#y#y#y#", BYTES_OF(s.scripts), BYTES_OF(s.history), BYTES_OF(s.coins),
                                              BYTES_OF(points), BYTES_OF(s.spends));
    sections_free(&s), vec_free(&points);
    vec_free(&touches), vec_free(&unspent), vec_free(&spends);
    return result;
}

/* The first row of a segment's `lookup` that belongs to a part. */
static size_t lookup_start(const segment *s, unsigned part, int bits) {
    size_t low = 0, high = s->count[LOOKUP];
    if (part >> bits) return high;
    uint64_t key = bits ? (uint64_t)part << (64 - bits) : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (get64(s->at[LOOKUP] + 8 * middle) < key) low = middle + 1;
        else high = middle;
    }
    return low;
}

static PyObject *merge_lookup(PyObject *self, PyObject *args) {
    PyObject *segments;
    unsigned part;
    int bits, failed = 0;
    unsigned long long unused[3];
    (void)self;
    if (merge_args(args, "OIi|KKK", &segments, &part, &bits, unused) < 0) return NULL;
    vec out = {0};
    Py_BEGIN_ALLOW_THREADS;
    uint64_t first_tx = SEGMENT(segments, 0)->first_tx;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments) && !failed; k++) {
        const segment *s = SEGMENT(segments, k);
        for (size_t i = lookup_start(s, part, bits), end = lookup_start(s, part + 1, bits); i < end && !failed; i++) {
            number64 *row = vec_push(&out, sizeof *row);
            failed = !row;
            if (row) row->key = get64(s->at[LOOKUP] + 8 * i) + (s->first_tx - first_tx);
        }
    }
    failed = failed || sort_numbers_spread(ROWS(&out, number64), COUNT(&out, number64), bits);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&out);
    return result;
}

#endif
