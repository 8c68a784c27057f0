/* One epoch's queue worked off against both sides (protocol section 6.7). Twin in plain Python: matching_plain.py.
 *
 * Three steps: the queue is read, it is matched in numbers alone, and then what happened becomes Python values: so
 * nothing that a value's attributes or constructors do can see a book that is half matched.
 */
#ifndef TWINLOCK_MATCHING_RUN_H
#define TWINLOCK_MATCHING_RUN_H

#include "blake256.h"
#include "matching_side.h"

#define RATE_FACTOR 100000000
#define MATCH_BYTES 80 /* taker 32, maker 32, quantity 8, rate 8: what a match's ID hashes */

typedef enum { LIMIT = 1, MARKET = 2, CANCEL = 3 } kind;

/* order: borrowed from the queue; id, target: new references. */
typedef struct {
    PyObject *order, *id, *target;
    terms now;
    kind type;
    int buys, stands, post_only;
} row;

typedef struct {
    PyObject *taker, *maker; /* borrowed; a new reference */
    int64_t quantity, rate;
} fill;

/* The lists of what an epoch did, in the order in which they are returned. */
typedef enum { BOOKED, UPDATED, UNBOOKED, COMPLETED, CANCELED, FAILED, CANCELS_EXECUTED, CANCELS_FAILED, LISTS } list;

/* An order's end: the list that it goes to, and UNBOOKED too if it rested before the epoch. */
typedef struct {
    PyObject *order; /* a new reference */
    terms now;
    int changed, unbooked;
    list to;
} ending;

typedef struct {
    side *side;
    uint32_t place;
    uint64_t serial;
} pointer;

typedef struct {
    int64_t rate;
    __int128 quantity; /* negative: takers bought */
} trade;

typedef struct {
    side *buys, *sells;
    int64_t lot;
    PyObject *queue; /* a tuple */
    vec rows, fills, hashed, endings, entered, touched, trades, unmatched;
    unsigned __int128 volume, quote_volume;
    int64_t high, low, start, end;
} run;

/* -- reading */

static int read_row(PyObject *order, row *read) {
    const int64_t type = number(order, ORDER_TYPE);
    read->order = order;
    if (type < 0 || !(read->id = identity(order, ID))) return -1;
    if ((read->type = (kind)type) == CANCEL) return (read->target = identity(order, TARGET_ID)) ? 0 : -1;
    int64_t buys, stands = 0, post_only = 0;
    PyObject *options = read_trade(order, &read->now);
    if (!options) return -1;
    if ((buys = number(order, SIDE)) >= 0 && type == LIMIT &&
        (read->now.rate = number(order, RATE)) >= 0 && (stands = number(order, TIME_IN_FORCE)) >= 0)
        post_only = number(options, POST_ONLY);
    Py_DECREF(options);
    read->buys = buys == 1;
    read->stands = stands == 1;
    read->post_only = post_only == 1;
    return PyErr_Occurred() ? -1 : 0;
}

static int read_queue(run *r) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(r->queue); i++) {
        row *read = vec_push(&r->rows, sizeof(row));
        if (!read) return PyErr_NoMemory(), -1;
        memset(read, 0, sizeof(row));
        if (read_row(PyTuple_GET_ITEM(r->queue, i), read) < 0) return -1;
    }
    return 0;
}

/* -- matching: everything below returns 0, or -1 when there is no memory left */

static void put_id(uint8_t *at, PyObject *id) {
    const size_t size = (size_t)PyBytes_GET_SIZE(id);
    memcpy(at, PyBytes_AS_STRING(id), size < 32 ? size : 32);
    if (size < 32) memset(at + size, 0, 32 - size);
}

static void put_be64(uint8_t *at, uint64_t value) {
    store_be32(at, (uint32_t)(value >> 32));
    store_be32(at + 4, (uint32_t)value);
}

static int record(run *r, const row *taker, const resting *maker, int64_t quantity) {
    fill *made = vec_push(&r->fills, sizeof(fill));
    uint8_t *hashed = vec_push(&r->hashed, MATCH_BYTES);
    if (!made || !hashed) return -1;
    *made = (fill){.taker = taker->order, .maker = Py_NewRef(maker->order), .quantity = quantity, .rate = maker->now.rate};
    put_id(hashed, taker->id);
    put_id(hashed + 32, maker->id);
    put_be64(hashed + 64, (uint64_t)quantity);
    put_be64(hashed + 72, (uint64_t)maker->now.rate);
    return 0;
}

/* The numbers of the epoch; trades of the same rate and side that follow each other are added up. */
static int count_trade(run *r, int buys, int64_t rate, int64_t quantity) {
    trade *last = r->trades.size ? &ROWS(&r->trades, trade)[COUNT(&r->trades, trade) - 1] : NULL;
    if (!r->volume || rate > r->high) r->high = rate;
    if (!r->volume || rate < r->low) r->low = rate;
    if (!r->volume) r->start = rate;
    r->end = rate;
    r->volume += (uint64_t)quantity;
    r->quote_volume += (unsigned __int128)rate * (uint64_t)quantity / RATE_FACTOR;
    if (!last || last->rate != rate || (last->quantity < 0) != buys) {
        if (!(last = vec_push(&r->trades, sizeof(trade)))) return -1;
        *last = (trade){.rate = rate};
    }
    last->quantity += buys ? -(__int128)quantity : quantity;
    return 0;
}

static int end_with(run *r, PyObject *order, const terms *now, list to, int changed, int unbooked) {
    ending *end = vec_push(&r->endings, sizeof(ending));
    if (!end) return -1;
    *end = (ending){.order = order, .now = *now, .changed = changed, .unbooked = unbooked, .to = to};
    return 0;
}

/* An order leaves its side. */
static int leave(run *r, side *s, resting *leaving, list to) {
    const int unbooked = leaving->state == RESTED || leaving->state == RESTED_FILLED;
    PyObject *order = take_out(s, leaving);
    if (!order) return -1;
    if (end_with(r, order, &leaving->now, to, leaving->changed, unbooked) == 0) return tidy(s), 0;
    Py_DECREF(order);
    return -1;
}

static int remember(vec *pointers, side *s, const resting *one) {
    pointer *made = vec_push(pointers, sizeof(pointer));
    if (!made) return -1;
    *made = (pointer){.side = s, .place = (uint32_t)(one - RESTING(s)), .serial = one->serial};
    return 0;
}

/* The order that a pointer means, or NULL if it has left. */
static resting *remembered(const pointer *one) {
    resting *there = &RESTING(one->side)[one->place];
    return there->order && there->serial == one->serial ? there : NULL;
}

static int fill_maker(run *r, const row *taker, side *makers, resting *maker, int64_t quantity) {
    if (record(r, taker, maker, quantity) || count_trade(r, taker->buys, maker->now.rate, quantity)) return -1;
    maker->now.left -= quantity;
    maker->now.filled += quantity;
    maker->changed = 1;
    if (maker->now.cap) maker->now.matches++;
    if (!maker->now.left || (maker->now.cap && maker->now.matches == maker->now.cap))
        return leave(r, makers, maker, COMPLETED);
    if (maker->state == ENTERED_IDLE) maker->state = ENTERED_MATCHED;
    if (maker->state != RESTED) return 0;
    maker->state = RESTED_FILLED;
    return remember(&r->touched, makers, maker);
}

/* What becomes of a taker after so many fills. ends: whether it may not be booked in any case. */
static int settle(run *r, const row *taker, int64_t filled, int64_t fills, int ends) {
    terms now = taker->now;
    now.filled += filled;
    now.left -= filled;
    if (fills && now.cap) {
        now.matches += fills;
        ends |= fills >= now.cap;
    }
    if (now.left >= r->lot && taker->stands && !ends) {
        side *own = taker->buys ? r->buys : r->sells;
        resting *added = put(own, taker->order, taker->id, &now);
        if (!added) return -1;
        added->state = filled ? ENTERED_MATCHED : ENTERED_IDLE;
        added->changed = filled != 0;
        return remember(&r->entered, own, added);
    }
    PyObject **unmatched = filled ? NULL : vec_push(&r->unmatched, sizeof(PyObject *));
    if (!filled && !unmatched) return -1;
    if (unmatched) *unmatched = Py_NewRef(taker->id);
    return end_with(r, Py_NewRef(taker->order), &now, filled ? COMPLETED : FAILED, filled != 0, 0);
}

/* Fill from the opposite side while it crosses. */
static int take(run *r, const row *taker) {
    side *makers = taker->buys ? r->sells : r->buys;
    int64_t left = taker->now.left, fills = 0;
    for (resting *maker; left && (!taker->now.cap || fills < taker->now.cap) && (maker = best(makers)); fills++) {
        if (taker->type == LIMIT && (taker->buys ? maker->now.rate > taker->now.rate : maker->now.rate < taker->now.rate))
            break;
        const int64_t quantity = left < maker->now.left ? left : maker->now.left;
        if (fill_maker(r, taker, makers, maker, quantity)) return -1;
        left -= quantity;
    }
    return settle(r, taker, taker->now.left - left, fills, 0);
}

/* Spend quote atoms on the best sells, whole lots at a time. */
static int buy_at_market(run *r, const row *taker) {
    int64_t left = taker->now.left, fills = 0;
    for (resting *maker; (!taker->now.cap || fills < taker->now.cap) && (maker = best(r->sells)); fills++) {
        const int64_t rate = maker->now.rate;
        if (left <= 0 || !rate) break;
        const unsigned __int128 affordable = (unsigned __int128)left * RATE_FACTOR / (uint64_t)rate;
        if (affordable < (uint64_t)r->lot) break;
        const int64_t quantity = affordable >= (uint64_t)maker->now.left
                                     ? maker->now.left
                                     : (int64_t)affordable - (int64_t)affordable % r->lot;
        if (fill_maker(r, taker, r->sells, maker, quantity)) return -1;
        left -= (int64_t)((unsigned __int128)rate * (uint64_t)quantity / RATE_FACTOR);
    }
    return settle(r, taker, taker->now.left - left, fills, 0);
}

static int cancel(run *r, const row *taker) {
    side *s = r->buys;
    resting *target = find(s, taker->target);
    if (!target && !PyErr_Occurred()) target = find(s = r->sells, taker->target);
    if (PyErr_Occurred()) return -1;
    const terms none = {0};
    if (!target) {
        PyObject **unmatched = vec_push(&r->unmatched, sizeof(PyObject *));
        if (!unmatched) return -1;
        *unmatched = Py_NewRef(taker->id);
        return end_with(r, Py_NewRef(taker->order), &none, CANCELS_FAILED, 0, 0);
    }
    if (record(r, taker, target, target->now.left) || leave(r, s, target, CANCELED)) return -1;
    return end_with(r, Py_NewRef(taker->order), &none, CANCELS_EXECUTED, 0, 0);
}

static int would_take(run *r, const row *order) {
    const resting *first = best(order->buys ? r->sells : r->buys);
    return first && (order->buys ? order->now.rate >= first->now.rate : order->now.rate <= first->now.rate);
}

static int work_off_row(run *r, const row *order) {
    if (order->type == CANCEL) return cancel(r, order);
    if (order->type == MARKET && order->buys) return buy_at_market(r, order);
    if (order->now.left <= 0 || order->now.left % r->lot)
        return end_with(r, Py_NewRef(order->order), &order->now, FAILED, 0, 0);
    if (order->post_only && would_take(r, order)) return settle(r, order, 0, 0, 1);
    return take(r, order);
}

static int match_queue(run *r) {
    for (size_t i = 0; i < COUNT(&r->rows, row); i++)
        if (work_off_row(r, &ROWS(&r->rows, row)[i]))
            return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
    return 0;
}

#endif
