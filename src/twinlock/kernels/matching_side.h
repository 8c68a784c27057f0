/* One side of a book: a priority queue of resting orders, best rate first, then the earlier time, then the smaller ID.
 *
 * Orders are Python values; what matching asks of them is read once, when they come, and held as numbers. A removed
 * order leaves its rank behind in the heap until that surfaces, and its place with it.
 */
#ifndef TWINLOCK_MATCHING_SIDE_H
#define TWINLOCK_MATCHING_SIDE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "vec.h"

/* The numbers of an order. left: of its quantity. cap: on its matches, 0 for none; matches: so far. */
typedef struct {
    int64_t rate, time, left, filled, cap, matches;
} terms;

typedef enum { RESTED, RESTED_FILLED, ENTERED_IDLE, ENTERED_MATCHED } standing;

/* order: NULL once it has left; changed: its numbers are ahead of it, as `matching_run.h` is at work. */
typedef struct {
    PyObject *order, *id;
    terms now;
    uint64_t serial;
    standing state;
    int changed;
} resting;

typedef struct {
    int64_t rate, time; /* rate: negative for buys, so that the smallest is the best */
    uint32_t place;
} rank;

typedef struct {
    PyObject_HEAD
    PyObject *places; /* ID -> place */
    vec resting, heap, spare;
    uint64_t serial;
    int buys, busy;
} side;

#define RESTING(s) ROWS(&(s)->resting, resting)
#define HEAP(s) ROWS(&(s)->heap, rank)

/* -- attributes of orders */

static PyObject *RATE, *SERVER_TIME, *QUANTITY, *FILLED, *MATCHES, *OPTIONS, *MAX_MATCHES, *POST_ONLY, *ID, *TARGET_ID,
    *ORDER_TYPE, *SIDE, *TIME_IN_FORCE;

static int name_attributes(void) {
    const struct {
        PyObject **name;
        const char *text;
    } all[] = {
        {&RATE, "rate"},           {&SERVER_TIME, "server_time"}, {&QUANTITY, "quantity"},
        {&FILLED, "filled"},       {&MATCHES, "matches"},         {&OPTIONS, "options"},
        {&POST_ONLY, "post_only"}, {&MAX_MATCHES, "max_matches"}, {&ID, "id"},
        {&SIDE, "side"},           {&TARGET_ID, "target_id"},     {&ORDER_TYPE, "order_type"},
        {&TIME_IN_FORCE, "time_in_force"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!*all[i].name && !(*all[i].name = PyUnicode_InternFromString(all[i].text))) return -1;
    return 0;
}

/* A number of an order, 0 to 2^63 - 1; -1 with an exception set. */
static int64_t number(PyObject *order, PyObject *name) {
    PyObject *value = PyObject_GetAttr(order, name);
    if (!value) return -1;
    const long long result = PyLong_AsLongLong(value);
    Py_DECREF(value);
    if (result < 0 && !PyErr_Occurred()) PyErr_Format(PyExc_OverflowError, "an order's %U is negative", name);
    return result < 0 ? -1 : result;
}

/* An ID of an order, a new reference to bytes. */
static PyObject *identity(PyObject *order, PyObject *name) {
    PyObject *value = PyObject_GetAttr(order, name);
    if (value && !PyBytes_CheckExact(value)) {
        PyErr_Format(PyExc_TypeError, "an order's %U must be bytes", name);
        Py_CLEAR(value);
    }
    return value;
}

/* What limit and market orders share. Returns the options, a new reference. */
static PyObject *read_trade(PyObject *order, terms *read) {
    int64_t quantity;
    PyObject *options = PyObject_GetAttr(order, OPTIONS);
    if (!options) return NULL;
    if ((read->time = number(order, SERVER_TIME)) < 0 || (quantity = number(order, QUANTITY)) < 0 ||
        (read->filled = number(order, FILLED)) < 0 || (read->matches = number(order, MATCHES)) < 0 ||
        (read->cap = number(options, MAX_MATCHES)) < 0) {
        Py_DECREF(options);
        return NULL;
    }
    read->left = quantity - read->filled;
    return options;
}

/* -- the heap of ranks */

static int before(const side *s, const rank *a, const rank *b) {
    if (a->rate != b->rate) return a->rate < b->rate;
    if (a->time != b->time) return a->time < b->time;
    PyObject *x = RESTING(s)[a->place].id, *y = RESTING(s)[b->place].id;
    const Py_ssize_t m = PyBytes_GET_SIZE(x), n = PyBytes_GET_SIZE(y);
    const int order = memcmp(PyBytes_AS_STRING(x), PyBytes_AS_STRING(y), (size_t)(m < n ? m : n));
    return order ? order < 0 : m < n;
}

static void rise(side *s, size_t at) {
    rank *heap = HEAP(s), moving = heap[at];
    while (at && before(s, &moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

static void sink(side *s, size_t at) {
    rank *heap = HEAP(s), moving = heap[at];
    const size_t count = COUNT(&s->heap, rank);
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(s, &heap[child + 1], &heap[child])) child++;
        if (!before(s, &heap[child], &moving)) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

/* A place whose rank has surfaced may be taken by another order. */
static void set_free(side *s, uint32_t place) {
    Py_CLEAR(RESTING(s)[place].id);
    *(uint32_t *)vec_push(&s->spare, sizeof place) = place; /* there is room for every place: see take_place */
}

static void drop_rank(side *s) {
    s->heap.size -= sizeof(rank);
    HEAP(s)[0] = HEAP(s)[COUNT(&s->heap, rank)];
    if (s->heap.size) sink(s, 0);
}

/* The first order's place, or NULL. It stays valid until the next insertion. */
static resting *best(side *s) {
    while (s->heap.size) {
        resting *first = &RESTING(s)[HEAP(s)->place];
        if (first->order) return first;
        const uint32_t place = HEAP(s)->place;
        drop_rank(s);
        set_free(s, place);
    }
    return NULL;
}

/* Ranks of orders that have left go, once they are the more. */
static void tidy(side *s) {
    const size_t count = COUNT(&s->heap, rank), live = (size_t)PyDict_GET_SIZE(s->places);
    size_t kept = 0;
    if (count <= 64 || count <= 2 * live) return;
    for (size_t i = 0; i < count; i++)
        if (RESTING(s)[HEAP(s)[i].place].order) HEAP(s)[kept++] = HEAP(s)[i];
        else set_free(s, HEAP(s)[i].place);
    s->heap.size = kept * sizeof(rank);
    for (size_t i = kept / 2; i-- > 0;) sink(s, i);
}

/* -- orders */

/* The place of an ID: NULL without an exception where there is none. */
static resting *find(side *s, PyObject *id) {
    PyObject *place = PyDict_GetItemWithError(s->places, id);
    return place ? &RESTING(s)[PyLong_AsUnsignedLong(place)] : NULL;
}

/* A place that nobody has, with room for its rank and for its becoming free; -1 with an exception set. */
static int64_t take_place(side *s) {
    const size_t count = COUNT(&s->resting, resting);
    if (s->spare.size) return ROWS(&s->spare, uint32_t)[COUNT(&s->spare, uint32_t) - 1];
    if (count >= UINT32_MAX || vec_room(&s->resting, sizeof(resting)) ||
        vec_room(&s->heap, (count + 1) * sizeof(rank) - s->heap.size) ||
        vec_room(&s->spare, (count + 1) * sizeof(uint32_t) - s->spare.size)) {
        PyErr_NoMemory();
        return -1;
    }
    return (int64_t)count;
}

/* Add an order, or replace the one with its ID, which keeps its place. NULL with an exception set. */
static resting *put(side *s, PyObject *order, PyObject *id, const terms *now) {
    resting *known = find(s, id);
    if (known) {
        PyObject *old = known->order;
        known->order = Py_NewRef(order);
        known->now = *now;
        Py_DECREF(old);
        return known;
    }
    const int64_t place = PyErr_Occurred() ? -1 : take_place(s);
    PyObject *key = place < 0 ? NULL : PyLong_FromLongLong(place);
    const int failed = !key || PyDict_SetItem(s->places, id, key) < 0;
    Py_XDECREF(key);
    if (failed) return NULL;
    if (s->spare.size) s->spare.size -= sizeof(uint32_t);
    else s->resting.size += sizeof(resting);
    resting *added = &RESTING(s)[place];
    *added = (resting){.order = Py_NewRef(order), .id = Py_NewRef(id), .now = *now, .serial = s->serial++};
    *(rank *)vec_push(&s->heap, sizeof(rank)) =
        (rank){.rate = s->buys ? -now->rate : now->rate, .time = now->time, .place = (uint32_t)place};
    rise(s, COUNT(&s->heap, rank) - 1);
    return added;
}

/* Take an order out: its reference passes to the caller; NULL with an exception set. Places stay where they are. */
static PyObject *take_out(side *s, resting *leaving) {
    if (PyDict_DelItem(s->places, leaving->id) < 0) return NULL;
    PyObject *order = leaving->order;
    leaving->order = NULL;
    return order;
}

#endif
