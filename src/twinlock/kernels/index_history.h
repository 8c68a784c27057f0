/* What touched a script, as rows, as JSON and as its status: one walk, several sinks. */
#ifndef TWINLOCK_INDEX_HISTORY_H
#define TWINLOCK_INDEX_HISTORY_H

#include "index_connect.h"
#include "index_text.h"

#define AHEAD 8 /* entries whose hashes are fetched from memory before their turn */

typedef struct sink sink;
struct sink {
    int (*entry)(sink *, const uint8_t *txid, uint64_t height);
    vec out;
    sha256_ctx hash;
    char text[4096];
    size_t held, entries;
    uint64_t next; /* transactions below this number are passed over; afterwards, the one after the last entry's */
    uint64_t end, most; /* where to stop: before this transaction, or with so many entries */
};

/* What is large is walked without Python's lock: segments do not change, and the caller holds them. */
#define LARGE 2000
#define UNLOCK_IF(large) PyThreadState *unlocked = (large) ? PyEval_SaveThread() : NULL
#define LOCK_AGAIN if (unlocked) PyEval_RestoreThread(unlocked)

/* The first of some entries whose transaction is not below a number. */
static uint64_t first_from(const segment *s, span entries, uint64_t tx) {
    if (tx >= s->first_tx + s->count[TXIDS]) return entries.end;
    while (tx > s->first_tx && entries.from < entries.end) {
        uint64_t middle = entries.from + (entries.end - entries.from) / 2;
        if (s->first_tx + get32(s->at[HISTORY] + 4 * middle) < tx) entries.from = middle + 1;
        else entries.end = middle;
    }
    return entries.from;
}

static int walk_piece(segment *s, span entries, sink *to) {
    size_t block = 0;
    const uint64_t end = entries.end;
    for (uint64_t i = first_from(s, entries, to->next); i < end; i++) {
        uint32_t tx = get32(s->at[HISTORY] + 4 * i);
        if (s->first_tx + tx >= to->end || to->entries == to->most) break;
        if (i + AHEAD < end) __builtin_prefetch(s->at[TXIDS] + 32 * (size_t)get32(s->at[HISTORY] + 4 * (i + AHEAD)));
        if (tx >= s->count[TXIDS]) continue;
        block = block_of(s, tx, block);
        if (to->entry(to, s->at[TXIDS] + 32 * (size_t)tx, s->first_height + block) < 0) return -1;
        to->next = s->first_tx + tx + 1;
        to->entries++;
    }
    return 0;
}

static int walk_history(PyObject *segments, const uint8_t *hashx, sink *to) {
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        if (to->next >= s->first_tx + s->count[TXIDS]) continue;
        Py_ssize_t row = find_script(s, hashx);
        if (row < 0) continue;
        span entries = entries_of(s, (size_t)row);
        UNLOCK_IF(entries.end > entries.from + LARGE);
        int failed = walk_piece(s, entries, to);
        LOCK_AGAIN;
        if (failed) return -1;
    }
    return 0;
}

/* How many of a script's entries in a segment are of transactions below a number. */
static uint64_t entries_below(const segment *s, size_t row, uint64_t tx) {
    span entries = entries_of(s, row);
    return first_from(s, entries, tx) - entries.from;
}

static uint64_t count_history(PyObject *segments, const uint8_t *hashx, uint64_t from, uint64_t to) {
    uint64_t count = 0;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        Py_ssize_t row = find_script(s, hashx);
        if (row < 0) continue;
        uint64_t before = entries_below(s, (size_t)row, from), until = entries_below(s, (size_t)row, to);
        if (until > before) count += until - before;
    }
    return count;
}

/* The first transaction of a height, or what follows the last transaction; of no height (negative), 0. */
static uint64_t tx_at(PyObject *segments, long long height) {
    uint64_t tx = 0;
    if (height < 0) return 0;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        if ((uint64_t)height < s->first_height) break;
        uint64_t row = (uint64_t)height - s->first_height;
        if (row < s->count[BLOCKS]) return get64(s->at[BLOCKS] + BLOCK_ROW * row);
        tx = s->first_tx + s->count[TXIDS];
    }
    return tx;
}

static int entry_row(sink *to, const uint8_t *txid, uint64_t height) {
    uint8_t *row = vec_push(&to->out, 36);
    if (!row) return -1;
    memcpy(row, txid, 32);
    put32(row + 32, (uint32_t)height);
    return 0;
}

#define ENTRY_JSON 128 /* more than the text of an entry has */

static int entry_json(sink *to, const uint8_t *txid, uint64_t height) {
    if (vec_room(&to->out, ENTRY_JSON)) return -1;
    char *start = (char *)to->out.data + to->out.size, *at = put_place(start, !to->out.size, txid, height);
    *at++ = '}';
    to->out.size += (size_t)(at - start);
    return 0;
}

static int entry_status(sink *to, const uint8_t *txid, uint64_t height) {
    if (to->held + 96 > sizeof to->text) {
        sha256_more(&to->hash, (uint8_t *)to->text, to->held);
        to->held = 0;
    }
    char *at = to->text + to->held;
    put_hash_text(at, txid);
    at[64] = ':';
    size_t size = put_number(at + 65, height);
    at[65 + size] = ':';
    to->held += 66 + size;
    return 0;
}

static int script_args(PyObject *args, PyObject **segments, Py_buffer *hashx, Py_buffer *more) {
    int good = more ? PyArg_ParseTuple(args, "Oy*y*", segments, hashx, more) : PyArg_ParseTuple(args, "Oy*", segments, hashx);
    if (!good) return -1;
    if (check_segments(*segments) == 0 && hashx->len == HASHX) return 0;
    if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "a script's name has %d bytes", HASHX);
    PyBuffer_Release(hashx);
    if (more) PyBuffer_Release(more);
    return -1;
}

/* What a script's history is asked for with: transactions from one (included) to another (excluded), and at most so
   many entries; without an end, the largest numbers. */
typedef struct {
    PyObject *segments;
    Py_buffer hashx;
    uint64_t from, to;
    unsigned long long most;
} asked;

static int history_args(PyObject *args, asked *a) {
    long long start = 0, end = -1;
    a->most = 0;
    if (!PyArg_ParseTuple(args, "Oy*|LLK", &a->segments, &a->hashx, &start, &end, &a->most)) return -1;
    if (check_segments(a->segments) == 0 && a->hashx.len == HASHX) {
        a->from = tx_at(a->segments, start);
        a->to = end < 0 ? UINT64_MAX : tx_at(a->segments, end);
        if (a->to < a->from) a->to = a->from; /* nothing lies between */
        if (!a->most) a->most = UINT64_MAX;
        return 0;
    }
    if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "a script's name has %d bytes", HASHX);
    PyBuffer_Release(&a->hashx);
    return -1;
}

static PyObject *history_with(PyObject *args, int (*entry)(sink *, const uint8_t *, uint64_t)) {
    asked a;
    if (history_args(args, &a) < 0) return NULL;
    sink to = {.entry = entry, .next = a.from, .end = a.to, .most = a.most};
    int failed = walk_history(a.segments, a.hashx.buf, &to);
    PyObject *result = failed < 0 ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(to.out));
    vec_free(&to.out);
    PyBuffer_Release(&a.hashx);
    return result;
}

static PyObject *history(PyObject *self, PyObject *args) {
    (void)self;
    return history_with(args, entry_row);
}

/* The text is written where it stays: of a long history every copy would be noticed. */
static PyObject *history_json(PyObject *self, PyObject *args) {
    asked a;
    (void)self;
    if (history_args(args, &a) < 0) return NULL;
    uint64_t count = count_history(a.segments, a.hashx.buf, a.from, a.to);
    if (a.most < count) count = a.most;
    size_t room = ENTRY_JSON * ((size_t)count + 1);
    PyObject *result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room);
    if (result) {
        char *text = PyBytes_AS_STRING(result);
        sink to = {.entry = entry_json, .next = a.from, .end = a.to, .most = count, .out = {(uint8_t *)text, 0, room}};
        walk_history(a.segments, a.hashx.buf, &to); /* so many entries never need more room */
        if (!to.out.size) text[to.out.size++] = '[';
        text[to.out.size++] = ']';
        _PyBytes_Resize(&result, (Py_ssize_t)to.out.size);
    }
    PyBuffer_Release(&a.hashx);
    return result;
}

static PyObject *history_size(PyObject *self, PyObject *args) {
    asked a;
    (void)self;
    if (history_args(args, &a) < 0) return NULL;
    uint64_t count = count_history(a.segments, a.hashx.buf, a.from, a.to);
    PyBuffer_Release(&a.hashx);
    return PyLong_FromUnsignedLongLong(count);
}

/* How far the hash over a script's confirmed entries has come: what a later status goes on from. */
typedef struct { uint64_t next; sha256_ctx hash; } progress;
#define WORTH_KEEPING 16 /* entries */

static PyObject *status(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer hashx, tail, before = {0};
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*y*|y*", &segments, &hashx, &tail, &before)) return NULL;
    PyObject *result = NULL;
    if (check_segments(segments) < 0) goto done;
    if (hashx.len != HASHX || (before.len && before.len != sizeof(progress))) {
        PyErr_Format(PyExc_ValueError, "a script's name has %d bytes, its progress %zu", HASHX, sizeof(progress));
        goto done;
    }
    sink to = {.entry = entry_status, .end = UINT64_MAX, .most = UINT64_MAX};
    progress now;
    sha256_start(&to.hash);
    if (before.len) {
        memcpy(&now, before.buf, sizeof now);
        to.hash = now.hash, to.next = now.next;
    }
    walk_history(segments, hashx.buf, &to);
    sha256_more(&to.hash, (uint8_t *)to.text, to.held);
    memset(&now, 0, sizeof now);
    now.hash = to.hash, now.next = to.next;
    size_t kept = before.len || to.entries >= WORTH_KEEPING ? sizeof now : 0;
    if (to.next || tail.len) {
        uint8_t digest[32];
        char text[64];
        sha256_more(&to.hash, tail.buf, (size_t)tail.len);
        sha256_end(&to.hash, digest);
        for (int i = 0; i < 32; i++) text[2 * i] = HEX[digest[i] >> 4], text[2 * i + 1] = HEX[digest[i] & 15];
        result = Py_BuildValue("s#y#", text, (Py_ssize_t)64, (char *)&now, (Py_ssize_t)kept);
    } else
        result = Py_BuildValue("Oy#", Py_None, (char *)&now, (Py_ssize_t)0);
done:
    PyBuffer_Release(&hashx), PyBuffer_Release(&tail);
    if (before.obj) PyBuffer_Release(&before);
    return result;
}

#endif
