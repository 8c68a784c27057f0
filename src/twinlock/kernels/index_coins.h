/* What of a script is not spent, and what it comes to. */
#ifndef TWINLOCK_INDEX_COINS_H
#define TWINLOCK_INDEX_COINS_H

#include "index_history.h"

typedef struct { uint64_t tx; uint32_t vout, unused; } point;
#define LESS_POINT(a, b) ((a).tx != (b).tx ? (a).tx < (b).tx : (a).vout < (b).vout)
#define TOP_TX(row) ((row).tx)
DEFINE_SORT(sort_points, point, LESS_POINT, TOP_TX)

static int has_point(const vec *points, uint64_t tx, uint32_t vout) {
    const point *rows = ROWS(points, point), wanted = {tx, vout, 0};
    size_t low = 0, high = COUNT(points, point), count = high;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (LESS_POINT(rows[middle], wanted)) low = middle + 1;
        else high = middle;
    }
    return low < count && rows[low].tx == tx && rows[low].vout == vout;
}

/* What later segments, and the caller's own list of (hash, vout), say is spent of a script. */
static int collect_spent(PyObject *segments, const uint8_t *hashx, const Py_buffer *excluded, vec *spent) {
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        size_t end, i = find_spends(s, hashx, &end);
        for (; i < end; i++) {
            const uint8_t *row = s->at[SPENDS] + SPEND_ROW * i;
            point *p = vec_push(spent, sizeof *p);
            if (!p) return -1;
            *p = (point){get64(row + 16), get32(row + 12), 0};
        }
    }
    for (Py_ssize_t at = 0; excluded && at + 36 <= excluded->len; at += 36) {
        const uint8_t *row = (const uint8_t *)excluded->buf + at;
        for (Py_ssize_t k = PyTuple_GET_SIZE(segments) - 1; k >= 0; k--) {
            int64_t tx = find_tx(SEGMENT(segments, k), row);
            if (tx < 0) continue;
            point *p = vec_push(spent, sizeof *p);
            if (!p) return -1;
            *p = (point){SEGMENT(segments, k)->first_tx + (uint64_t)tx, get32(row + 32), 0};
            break;
        }
    }
    sort_points(ROWS(spent, point), COUNT(spent, point));
    return 0;
}

static int coin_json(vec *out, const uint8_t *txid, uint64_t height, const uint8_t *row) {
    if (vec_room(out, 192)) return -1;
    char *start = (char *)out->data + out->size, *at = put_place(start, !out->size, txid, height);
    memcpy(at, ",\"tx_pos\":", 10);
    at += 10;
    at += put_number(at, get32(row + 4));
    memcpy(at, ",\"value\":", 9);
    at += 9;
    at += put_number(at, get64(row + 8));
    *at++ = '}';
    out->size += (size_t)(at - start);
    return 0;
}

static int coin_row(vec *out, const uint8_t *txid, uint64_t height, uint64_t position, const uint8_t *row) {
    uint8_t *to = vec_push(out, 56);
    if (!to) return -1;
    memcpy(to, txid, 32);
    put32(to + 32, get32(row + 4));
    put32(to + 36, (uint32_t)height);
    put32(to + 40, (uint32_t)position);
    put32(to + 44, 0);
    put64(to + 48, get64(row + 8));
    return 0;
}

static int walk_coins_of(segment *s, span coins, const vec *spent, int json, vec *out) {
    size_t block = 0;
    for (uint64_t i = coins.from; i < coins.end; i++) {
        const uint8_t *row = s->at[COINS] + COIN_ROW * i;
        uint32_t tx = get32(row);
        if (tx >= s->count[TXIDS] || (spent->size && has_point(spent, s->first_tx + tx, get32(row + 4)))) continue;
        block = block_of(s, tx, block);
        const uint8_t *txid = s->at[TXIDS] + 32 * (size_t)tx;
        uint64_t position = s->first_tx + tx - get64(s->at[BLOCKS] + BLOCK_ROW * block);
        int failed = json ? coin_json(out, txid, s->first_height + block, row)
                          : coin_row(out, txid, s->first_height + block, position, row);
        if (failed) return -1;
    }
    return 0;
}

static int walk_coins(PyObject *segments, const uint8_t *hashx, const vec *spent, int json, vec *out) {
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        Py_ssize_t script = find_script(s, hashx);
        if (script < 0) continue;
        span coins = coins_of(s, (size_t)script);
        UNLOCK_IF(coins.end > coins.from + LARGE);
        int failed = walk_coins_of(s, coins, spent, json, out);
        LOCK_AGAIN;
        if (failed) return -1;
    }
    return 0;
}

static PyObject *coins_with(PyObject *args, int json) {
    PyObject *segments;
    Py_buffer hashx, excluded;
    if (script_args(args, &segments, &hashx, &excluded) < 0) return NULL;
    vec spent = {0}, out = {0};
    int failed = collect_spent(segments, hashx.buf, &excluded, &spent) || walk_coins(segments, hashx.buf, &spent, json, &out);
    if (json && !failed) failed = vec_room(&out, 2);
    if (json && !failed && !out.size) out.data[out.size++] = '[';
    if (json && !failed) out.data[out.size++] = ']';
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&spent), vec_free(&out);
    PyBuffer_Release(&hashx), PyBuffer_Release(&excluded);
    return result;
}

static PyObject *unspent(PyObject *self, PyObject *args) {
    (void)self;
    return coins_with(args, 0);
}

static PyObject *unspent_json(PyObject *self, PyObject *args) {
    (void)self;
    return coins_with(args, 1);
}

static PyObject *balance(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer hashx;
    (void)self;
    if (script_args(args, &segments, &hashx, NULL) < 0) return NULL;
    uint64_t total = 0;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        Py_ssize_t script = find_script(s, hashx.buf);
        span coins = script < 0 ? (span){0, 0} : coins_of(s, (size_t)script);
        for (uint64_t i = coins.from; i < coins.end; i++) total += get64(s->at[COINS] + COIN_ROW * i + 8);
        size_t end, i = find_spends(s, hashx.buf, &end);
        for (; i < end; i++) total -= get64(s->at[SPENDS] + SPEND_ROW * i + 24);
    }
    PyBuffer_Release(&hashx);
    return PyLong_FromLongLong((int64_t)total);
}

#endif
