/* One block on top of other segments, and what several segments have in common. */
#ifndef TWINLOCK_INDEX_CONNECT_H
#define TWINLOCK_INDEX_CONNECT_H

#include "index_build.h"

static PyObject *sections_result(vec *touches, vec *unspent, vec *spends, const uint8_t *txids, size_t txs) {
    sections s = {0};
    vec lookup = {0}, points = {0};
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    failed = assemble(&s, touches, unspent, 0, 0, 0, 0) || close_scripts(&s, s.history.size / 4, s.coins.size / COIN_ROW) ||
             put_outpoints(&s.points, &points) || put_spends(spends, &s.spends) || (txids && put_lookup(txids, txs, 0, &lookup));
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? no_sections(&s)
                              : Py_BuildValue("y#y#y#y#y#y#", BYTES_OF(lookup), BYTES_OF(s.scripts), BYTES_OF(s.history),
                                              BYTES_OF(s.coins), BYTES_OF(points), BYTES_OF(s.spends));
    sections_free(&s), vec_free(&lookup), vec_free(&points);
    return result;
}

static int check_segments(PyObject *segments) {
    if (!PyTuple_Check(segments)) {
        PyErr_SetString(PyExc_TypeError, "a tuple of segments is wanted");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(segments); i++)
        if (!PyObject_TypeCheck(PyTuple_GET_ITEM(segments, i), &segment_type)) {
            PyErr_SetString(PyExc_TypeError, "a tuple of segments is wanted");
            return -1;
        }
    return 0;
}

#define SEGMENT(segments, i) ((segment *)PyTuple_GET_ITEM(segments, i))

/* Resolve a block's inputs: among its own outputs first, then in the segments, newest first. */
static int connect_inputs(PyObject *segments, const uint8_t *inputs, size_t count, const uint8_t *lookup, size_t txs,
                          const uint8_t *txids, coin *own, size_t own_count, vec *touches, vec *spends, size_t *missing) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *row = inputs + 40 * i;
        uint32_t vout = get32(row + 32), spender = get32(row + 36);
        uint32_t prefix = __builtin_bswap32(get32(row));
        size_t low = 0, high = txs;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (get64(lookup + 8 * middle) >> 32 < prefix) low = middle + 1;
            else high = middle;
        }
        coin *mine = NULL;
        for (; low < txs && get64(lookup + 8 * low) >> 32 == prefix && !mine; low++) {
            uint32_t tx = (uint32_t)get64(lookup + 8 * low);
            if (memcmp(txids + 32 * tx, row, 32)) continue;
            /* own outputs are in order of transaction and vout */
            size_t from = 0, to = own_count;
            uint64_t point = (uint64_t)tx << 32 | vout;
            while (from < to) {
                size_t half = (from + to) / 2;
                if (((uint64_t)(uint32_t)(own[half].lo >> 8) << 32 | own[half].vout) < point) from = half + 1;
                else to = half;
            }
            if (from < own_count && ((uint64_t)(uint32_t)(own[from].lo >> 8) << 32 | own[from].vout) == point) mine = &own[from];
        }
        if (mine && !mine->unused) {
            if (push_touch(touches, mine->hi, mine->lo >> 40, spender) < 0) return -1;
            mine->unused = 1; /* spent */
            continue;
        }
        const uint8_t *found = NULL;
        Py_ssize_t script = -1;
        segment *s = NULL;
        for (Py_ssize_t k = PyTuple_GET_SIZE(segments) - 1; k >= 0 && script < 0; k--) {
            s = SEGMENT(segments, k);
            int64_t tx = find_tx(s, row);
            if (tx >= 0) script = find_coin(s, (uint32_t)tx, vout, &found);
        }
        if (script < 0) {
            *missing = i;
            return 1;
        }
        const uint8_t *name = s->at[SCRIPTS] + SCRIPT_ROW * script;
        spend *out = vec_push(spends, sizeof *out);
        if (!out || push_touch(touches, big64(name), name_lo(name) >> 40, spender) < 0) return -1;
        *out = (spend){big64(name), name_lo(name), s->first_tx + get32(found), get64(found + 8), vout, spender};
    }
    return 0;
}

static PyObject *connect(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer txids, outputs, inputs;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*y*y*", &segments, &txids, &outputs, &inputs)) return NULL;
    size_t txs = (size_t)txids.len / 32, outs = (size_t)outputs.len / 32, missing = 0;
    vec touches = {0}, all = {0}, unspent = {0}, spends = {0}, lookup = {0};
    int failed = -1;
    PyObject *result = NULL;
    if (check_segments(segments) < 0) goto done;
    failed = put_lookup(txids.buf, txs, 0, &lookup) || vec_room(&all, outs * sizeof(coin)) || vec_room(&unspent, outs * sizeof(coin));
    for (size_t i = 0; i < outs && !failed; i++) {
        const uint8_t *row = (const uint8_t *)outputs.buf + 32 * i, *name = row + 16;
        coin *c = vec_push(&all, sizeof *c);
        *c = (coin){big64(name), name_lo(name) | (uint64_t)get32(row) << 8, get64(row + 8), get32(row + 4), 0};
        failed = push_touch(&touches, c->hi, c->lo >> 40, get32(row));
    }
    if (!failed)
        failed = connect_inputs(segments, inputs.buf, (size_t)inputs.len / 40, lookup.data, txs, txids.buf, ROWS(&all, coin), outs,
                                &touches, &spends, &missing);
    if (failed > 0) {
        PyErr_Format(PyExc_KeyError, "input %zu spends what the index does not hold", missing);
        goto done;
    }
    if (failed < 0) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < outs; i++)
        if (!ROWS(&all, coin)[i].unused) *(coin *)vec_push(&unspent, sizeof(coin)) = ROWS(&all, coin)[i];
    result = sections_result(&touches, &unspent, &spends, txids.buf, txs);
done:
    vec_free(&touches), vec_free(&all), vec_free(&unspent), vec_free(&spends), vec_free(&lookup);
    PyBuffer_Release(&txids), PyBuffer_Release(&outputs), PyBuffer_Release(&inputs);
    return result;
}

#endif
