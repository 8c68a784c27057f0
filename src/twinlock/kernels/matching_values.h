/* What a run did, as Python values. */
#ifndef TWINLOCK_MATCHING_VALUES_H
#define TWINLOCK_MATCHING_VALUES_H

#include "matching_run.h"

/* An order after the epoch: itself if nothing was filled, else what `replace` makes of it. A new reference. */
static PyObject *after(PyObject *order, const terms *now, int changed, PyObject *replace) {
    static PyObject *names[2]; /* (filled,), (filled, matches) */
    if (!changed) return Py_NewRef(order);
    if (!names[0] && !(names[0] = PyTuple_Pack(1, FILLED))) return NULL;
    if (!names[1] && !(names[1] = PyTuple_Pack(2, FILLED, MATCHES))) return NULL;
    PyObject *filled = PyLong_FromLongLong(now->filled), *matches = PyLong_FromLongLong(now->matches), *result = NULL;
    PyObject *arguments[] = {order, filled, matches};
    if (filled && matches) result = PyObject_Vectorcall(replace, arguments, 1, names[now->cap != 0]);
    Py_XDECREF(filled);
    Py_XDECREF(matches);
    return result;
}

/* Append a value, whose reference is taken. */
static int append(PyObject *to, PyObject *value) {
    const int result = value ? PyList_Append(to, value) : -1;
    Py_XDECREF(value);
    return result;
}

static PyObject *wide(__int128 value) {
    if (value >= INT64_MIN && value <= INT64_MAX) return PyLong_FromLongLong((long long)value);
    PyObject *bits = PyLong_FromLong(64), *high = PyLong_FromLongLong((long long)(value >> 64));
    PyObject *low = PyLong_FromUnsignedLongLong((unsigned long long)value);
    PyObject *shifted = bits && high && low ? PyNumber_Lshift(high, bits) : NULL;
    PyObject *result = shifted ? PyNumber_Or(shifted, low) : NULL;
    Py_XDECREF(bits);
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(shifted);
    return result;
}

/* The IDs of all matches, 32 bytes each, in memory that the caller frees. */
static uint8_t *match_ids(const run *r) {
    const size_t count = COUNT(&r->fills, fill), groups = (count + BLAKE_LANES - 1) / BLAKE_LANES;
    uint8_t *ids = malloc(groups ? groups * BLAKE_LANES * 32 : 1), padded[BLAKE_LANES * BLAKE_ROOM] = {0};
    for (size_t group = 0; ids && group < groups; group++) {
        for (size_t lane = 0; lane < BLAKE_LANES && group * BLAKE_LANES + lane < count; lane++) {
            memcpy(padded + BLAKE_ROOM * lane, r->hashed.data + (group * BLAKE_LANES + lane) * MATCH_BYTES, MATCH_BYTES);
            blake256_pad(padded + BLAKE_ROOM * lane, MATCH_BYTES);
        }
        blake256_lanes(padded, MATCH_BYTES, ids + group * BLAKE_LANES * 32);
    }
    return ids;
}

static PyObject *one_match(const fill *made, const uint8_t *id, PyObject *make) {
    PyObject *arguments[] = {PyBytes_FromStringAndSize((const char *)id, 32), made->taker, made->maker,
                             PyLong_FromLongLong(made->quantity), PyLong_FromLongLong(made->rate)};
    PyObject *result = NULL;
    if (arguments[0] && arguments[3] && arguments[4]) result = PyObject_Vectorcall(make, arguments, 5, NULL);
    Py_XDECREF(arguments[0]);
    Py_XDECREF(arguments[3]);
    Py_XDECREF(arguments[4]);
    return result;
}

static PyObject *matches_of(const run *r, PyObject *make) {
    uint8_t *ids = match_ids(r);
    PyObject *result = ids ? PyList_New(0) : PyErr_NoMemory();
    for (size_t i = 0; result && i < COUNT(&r->fills, fill); i++)
        if (append(result, one_match(&ROWS(&r->fills, fill)[i], ids + 32 * i, make)) < 0) Py_CLEAR(result);
    free(ids);
    return result;
}

/* Orders that are on the book now: it holds their values as they are after the epoch. */
static int list_remembered(const vec *pointers, PyObject *to, PyObject *unmatched, PyObject *replace) {
    for (size_t i = 0; i < COUNT(pointers, pointer); i++) {
        const pointer *one = &ROWS(pointers, pointer)[i];
        resting *there = remembered(one);
        if (!there) continue;
        PyObject *old = there->order, *value = after(old, &there->now, there->changed, replace);
        if (!value) return -1;
        there->order = value;
        there->changed = 0;
        Py_DECREF(old);
        if (PyList_Append(to, value) < 0) return -1;
        if (there->state == ENTERED_IDLE && PyList_Append(unmatched, there->id) < 0) return -1;
    }
    return 0;
}

static int list_endings(const run *r, PyObject **lists, PyObject *replace) {
    for (size_t i = 0; i < COUNT(&r->endings, ending); i++) {
        const ending *end = &ROWS(&r->endings, ending)[i];
        PyObject *value = after(end->order, &end->now, end->changed, replace);
        if (!value || (end->unbooked && PyList_Append(lists[UNBOOKED], value) < 0)) {
            Py_XDECREF(value);
            return -1;
        }
        if (append(lists[end->to], value) < 0) return -1;
    }
    return 0;
}

static PyObject *trades_of(const run *r) {
    PyObject *result = PyTuple_New((Py_ssize_t)COUNT(&r->trades, trade));
    for (size_t i = 0; result && i < COUNT(&r->trades, trade); i++) {
        const trade *one = &ROWS(&r->trades, trade)[i];
        PyObject *pair = Py_BuildValue("LN", (long long)one->rate, wide(one->quantity));
        if (pair) PyTuple_SET_ITEM(result, (Py_ssize_t)i, pair);
        else Py_CLEAR(result);
    }
    return result;
}

/* The book's orders are made current even if making a list fails on the way. */
static PyObject *values_of(run *r, PyObject *make, PyObject *replace) {
    PyObject *lists[LISTS] = {NULL}, *unmatched = PyList_New(0), *result = NULL;
    int failed = !unmatched;
    for (int i = 0; i < LISTS; i++) failed |= !(lists[i] = PyList_New(0));
    for (size_t i = 0; !failed && i < COUNT(&r->unmatched, PyObject *); i++)
        failed = PyList_Append(unmatched, ROWS(&r->unmatched, PyObject *)[i]) < 0;
    failed = failed || list_remembered(&r->entered, lists[BOOKED], unmatched, replace) < 0 ||
             list_remembered(&r->touched, lists[UPDATED], unmatched, replace) < 0 || list_endings(r, lists, replace) < 0;
    PyObject *matches = failed ? NULL : matches_of(r, make);
    if (matches)
        result = Py_BuildValue("N(OOOOOOOO)O(NNLLLL)N", matches, lists[0], lists[1], lists[2], lists[3], lists[4],
                               lists[5], lists[6], lists[7], unmatched, wide((__int128)r->volume),
                               wide((__int128)r->quote_volume), (long long)r->high, (long long)r->low,
                               (long long)r->start, (long long)r->end, trades_of(r));
    for (int i = 0; i < LISTS; i++) Py_XDECREF(lists[i]);
    Py_XDECREF(unmatched);
    return result;
}

/* For the next epoch all that is on the book has rested. */
static void rest(const vec *pointers) {
    for (size_t i = 0; i < COUNT(pointers, pointer); i++) {
        resting *there = remembered(&ROWS(pointers, pointer)[i]);
        if (there) there->state = RESTED;
    }
}

static void run_free(run *r) {
    rest(&r->entered);
    rest(&r->touched);
    for (size_t i = 0; i < COUNT(&r->rows, row); i++) {
        Py_XDECREF(ROWS(&r->rows, row)[i].id);
        Py_XDECREF(ROWS(&r->rows, row)[i].target);
    }
    for (size_t i = 0; i < COUNT(&r->fills, fill); i++) Py_DECREF(ROWS(&r->fills, fill)[i].maker);
    for (size_t i = 0; i < COUNT(&r->endings, ending); i++) Py_DECREF(ROWS(&r->endings, ending)[i].order);
    for (size_t i = 0; i < COUNT(&r->unmatched, PyObject *); i++) Py_DECREF(ROWS(&r->unmatched, PyObject *)[i]);
    vec *all[] = {&r->rows, &r->fills, &r->hashed, &r->endings, &r->entered, &r->touched, &r->trades, &r->unmatched};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) vec_free(all[i]);
    Py_XDECREF(r->queue);
}

#endif
