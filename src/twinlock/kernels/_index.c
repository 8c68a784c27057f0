/* The compiled index kernel: building segments, and the questions wallets ask of them. See index.py. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "index_merge.h"

static const char HEX[] = "0123456789abcdef";

/* 64 hex digits, as people write hashes: reversed. */
#ifdef __SSE2__
static inline void put_hash_text(char *out, const uint8_t *hash) {
    const __m128i low = _mm_set1_epi8(15), nine = _mm_set1_epi8(9), zero = _mm_set1_epi8('0'), to_a = _mm_set1_epi8('a' - '0' - 10);
    for (int half = 1; half >= 0; half--, out += 32) {
        __m128i bytes = _mm_set_epi64x((long long)big64(hash + 16 * half), (long long)big64(hash + 16 * half + 8));
        __m128i high_digits = _mm_and_si128(_mm_srli_epi16(bytes, 4), low), low_digits = _mm_and_si128(bytes, low);
        __m128i pair[2] = {_mm_unpacklo_epi8(high_digits, low_digits), _mm_unpackhi_epi8(high_digits, low_digits)};
        for (int i = 0; i < 2; i++) {
            __m128i letters = _mm_and_si128(_mm_cmpgt_epi8(pair[i], nine), to_a);
            _mm_storeu_si128((__m128i *)(out + 16 * i), _mm_add_epi8(_mm_add_epi8(pair[i], zero), letters));
        }
    }
}
#else
static inline void put_hash_text(char *out, const uint8_t *hash) {
    for (int i = 31; i >= 0; i--) {
        *out++ = HEX[hash[i] >> 4];
        *out++ = HEX[hash[i] & 15];
    }
}
#endif

static inline size_t put_number(char *out, uint64_t value) {
    char digits[20];
    size_t size = 0;
    do digits[size++] = (char)('0' + value % 10);
    while (value /= 10);
    for (size_t i = 0; i < size; i++) out[i] = digits[size - 1 - i];
    return size;
}

/* -- history: one walk, several sinks */

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
    char *at = (char *)to->out.data + to->out.size, *start = at;
    *at++ = to->out.size ? ',' : '[';
    memcpy(at, "{\"height\":", 10);
    at += 10;
    at += put_number(at, height);
    memcpy(at, ",\"tx_hash\":\"", 12);
    put_hash_text(at + 12, txid);
    memcpy(at + 76, "\"}", 2);
    to->out.size += (size_t)(at + 78 - start);
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

/* -- coins */

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
    char *at = (char *)out->data + out->size, *start = at;
    *at++ = out->size ? ',' : '[';
    memcpy(at, "{\"height\":", 10);
    at += 10;
    at += put_number(at, height);
    memcpy(at, ",\"tx_hash\":\"", 12);
    put_hash_text(at + 12, txid);
    memcpy(at + 76, "\",\"tx_pos\":", 11);
    at += 87;
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

/* -- transactions */

static PyObject *find(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer txid;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*", &segments, &txid)) return NULL;
    PyObject *result = NULL;
    if (check_segments(segments) == 0 && txid.len == 32) {
        for (Py_ssize_t k = PyTuple_GET_SIZE(segments) - 1; k >= 0 && !result; k--) {
            segment *s = SEGMENT(segments, k);
            int64_t tx = find_tx(s, txid.buf);
            if (tx < 0) continue;
            size_t block = block_of(s, (uint64_t)tx, 0);
            uint64_t position = s->first_tx + (uint64_t)tx - get64(s->at[BLOCKS] + BLOCK_ROW * block);
            result = Py_BuildValue("KK", (unsigned long long)(s->first_height + block), (unsigned long long)position);
        }
        if (!result && !PyErr_Occurred()) result = Py_NewRef(Py_None);
    } else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a transaction's hash has 32 bytes");
    PyBuffer_Release(&txid);
    return result;
}

/* Whether a segment from number k on spends a script's output of an older one. */
static int spent_later(PyObject *segments, Py_ssize_t k, const uint8_t *name, uint64_t tx, uint32_t vout) {
    for (; k < PyTuple_GET_SIZE(segments); k++) {
        segment *s = SEGMENT(segments, k);
        size_t end, i = find_spends(s, name, &end);
        for (; i < end; i++) {
            const uint8_t *row = s->at[SPENDS] + SPEND_ROW * i;
            if (get64(row + 16) == tx && get32(row + 12) == vout) return 1;
        }
    }
    return 0;
}

static PyObject *output(PyObject *self, PyObject *args) {
    PyObject *segments;
    Py_buffer txid;
    long long vout;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*L", &segments, &txid, &vout)) return NULL;
    PyObject *result = NULL;
    if (check_segments(segments) == 0 && txid.len == 32) {
        const int possible = vout >= 0 && vout <= UINT32_MAX;
        for (Py_ssize_t k = PyTuple_GET_SIZE(segments) - 1; possible && k >= 0 && !result; k--) {
            segment *s = SEGMENT(segments, k);
            const uint8_t *row;
            int64_t tx = find_tx(s, txid.buf);
            Py_ssize_t script = tx < 0 ? -1 : find_coin(s, (uint32_t)tx, (uint32_t)vout, &row);
            if (script < 0) continue;
            const uint8_t *name = s->at[SCRIPTS] + SCRIPT_ROW * script;
            if (spent_later(segments, k + 1, name, s->first_tx + (uint64_t)tx, (uint32_t)vout)) break;
            result = Py_BuildValue("y#K", (const char *)name, (Py_ssize_t)HASHX, (unsigned long long)get64(row + 8));
        }
        if (!result && !PyErr_Occurred()) result = Py_NewRef(Py_None);
    } else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a transaction's hash has 32 bytes");
    PyBuffer_Release(&txid);
    return result;
}

static PyObject *lookup(PyObject *self, PyObject *args) {
    Py_buffer txids;
    unsigned long long first = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*|K", &txids, &first)) return NULL;
    vec out = {0};
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    failed = put_lookup(txids.buf, (size_t)txids.len / 32, first, &out);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&out);
    PyBuffer_Release(&txids);
    return result;
}

/* A part of the section `lookup` from pieces of it, one after the other. */
static PyObject *sort_lookup(PyObject *self, PyObject *args) {
    Py_buffer rows;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &rows)) return NULL;
    PyObject *result = PyBytes_FromStringAndSize(rows.buf, rows.len - rows.len % 8);
    if (result) {
        number64 *at = (number64 *)PyBytes_AS_STRING(result);
        Py_BEGIN_ALLOW_THREADS;
        sort_numbers(at, (size_t)rows.len / 8);
        Py_END_ALLOW_THREADS;
    }
    PyBuffer_Release(&rows);
    return result;
}

/* The same of the section `outpoints`. */
static PyObject *sort_outpoints_of(PyObject *self, PyObject *args) {
    Py_buffer rows;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &rows)) return NULL;
    vec points = {0}, out = {0};
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    size_t count = (size_t)rows.len / OUTPOINT_ROW;
    failed = vec_room(&points, count * sizeof(outpoint));
    for (size_t i = 0; i < count && !failed; i++) {
        const uint8_t *row = (const uint8_t *)rows.buf + OUTPOINT_ROW * i;
        *(outpoint *)vec_push(&points, sizeof(outpoint)) = (outpoint){(uint64_t)get32(row) << 32 | get32(row + 4), get32(row + 8), 0};
    }
    if (!failed) failed = put_outpoints(&points, &out);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&points), vec_free(&out);
    PyBuffer_Release(&rows);
    return result;
}

/* -- Merkle trees over transaction hashes */

static PyObject *merkle_root(PyObject *self, PyObject *args) {
    Py_buffer leaves;
    uint8_t root[32];
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &leaves)) return NULL;
    int failed = merkle_root_of(leaves.buf, (size_t)leaves.len / 32, root);
    PyBuffer_Release(&leaves);
    if (failed < 0) return PyErr_NoMemory();
    if (failed) return PyErr_Format(PyExc_ValueError, "the hashes have no root of their own");
    return PyBytes_FromStringAndSize((const char *)root, 32);
}

static PyObject *merkle_tree(PyObject *self, PyObject *args) {
    Py_buffer leaves;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &leaves)) return NULL;
    vec out = {0};
    const size_t leaf_count = (size_t)leaves.len / 32;
    size_t count = above(leaf_count, GROUP_LEVEL), level = 0;
    int failed = leaf_count <= 1 << GROUP_LEVEL ? 0 : vec_room(&out, 64 * count + 2048);
    if (out.data) {
        for (size_t i = 0; i < count; i++, out.size += 32) merkle_node(leaves.buf, leaf_count, GROUP_LEVEL, i, out.data + out.size);
        while (count > 1) {
            const size_t next = out.size;
            for (size_t i = 0; i < count; i += 2, out.size += 32) {
                const uint8_t *left = out.data + level + 32 * i, *right = i + 1 < count ? left + 32 : left;
                merkle_pair(left, right, out.data + out.size);
            }
            level = next;
            count = (count + 1) / 2;
        }
    }
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&out);
    PyBuffer_Release(&leaves);
    return result;
}

static PyObject *merkle_branch_json(PyObject *self, PyObject *args) {
    Py_buffer tree, leaves;
    Py_ssize_t position;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*n", &tree, &leaves, &position)) return NULL;
    char text[64 * 68], *at = text;
    const size_t leaf_count = (size_t)leaves.len / 32;
    const uint8_t *row = tree.buf, *end = row + tree.len;
    int good = position >= 0 && (size_t)position < leaf_count;
    *at++ = '[';
    for (size_t level = 0, count = leaf_count, index = (size_t)position; good && count > 1; level++, index /= 2) {
        const size_t sibling = (index ^ 1) < count ? index ^ 1 : index;
        uint8_t node[32];
        if (level < GROUP_LEVEL) merkle_node(leaves.buf, leaf_count, level, sibling, node);
        else if ((good = count <= (size_t)(end - row) / 32)) {
            memcpy(node, row + 32 * sibling, 32);
            row += 32 * count;
        }
        if (level) *at++ = ',';
        *at++ = '"';
        put_hash_text(at, node);
        at[64] = '"';
        at += 65;
        count = (count + 1) / 2;
    }
    *at++ = ']';
    PyBuffer_Release(&tree);
    PyBuffer_Release(&leaves);
    if (!good) return PyErr_Format(PyExc_ValueError, "the tree has no such leaf");
    return PyBytes_FromStringAndSize(text, at - text);
}

static PyMethodDef methods[] = {
    {"connect", connect, METH_VARARGS, "connect(segments, txids, outputs, inputs) -> sections of a block"},
    {"merge", merge, METH_VARARGS, "merge(segments, txids) -> sections"},
    {"merge_part", merge_part, METH_VARARGS, "merge_part(segments, part, bits, scripts, entries, coins) -> sections of a part"},
    {"merge_lookup", merge_lookup, METH_VARARGS, "merge_lookup(segments, part, bits) -> a part of the section"},
    {"lookup", lookup, METH_VARARGS, "lookup(txids, first=0) -> section"},
    {"sort_lookup", sort_lookup, METH_VARARGS, "sort_lookup(rows) -> rows, sorted"},
    {"sort_outpoints", sort_outpoints_of, METH_VARARGS, "sort_outpoints(rows) -> rows, sorted"},
    {"history", history, METH_VARARGS, "history(segments, hashx, start=0, end=-1, most=0) -> rows"},
    {"history_json", history_json, METH_VARARGS, "history_json(segments, hashx, start=0, end=-1, most=0) -> JSON list"},
    {"history_size", history_size, METH_VARARGS, "history_size(segments, hashx, start=0, end=-1) -> entries"},
    {"status", status, METH_VARARGS, "status(segments, hashx, tail, progress=b\"\") -> (hex digest or None, progress)"},
    {"unspent", unspent, METH_VARARGS, "unspent(segments, hashx, excluded) -> rows"},
    {"unspent_json", unspent_json, METH_VARARGS, "unspent_json(segments, hashx, excluded) -> JSON list"},
    {"balance", balance, METH_VARARGS, "balance(segments, hashx) -> atoms"},
    {"find", find, METH_VARARGS, "find(segments, txid) -> (height, position) or None"},
    {"output", output, METH_VARARGS, "output(segments, txid, vout) -> (hashx, value) or None"},
    {"merkle_root", merkle_root, METH_VARARGS, "merkle_root(leaves) -> root"},
    {"merkle_tree", merkle_tree, METH_VARARGS, "merkle_tree(leaves) -> the levels above groups"},
    {"merkle_branch_json", merkle_branch_json, METH_VARARGS, "merkle_branch_json(tree, leaves, position) -> JSON list"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_index", "The compiled index kernel.", -1, methods, 0, 0, 0, 0};

PyMODINIT_FUNC PyInit__index(void) {
    sha256_choose();
    if (PyType_Ready(&segment_type) < 0 || PyType_Ready(&builder_type) < 0) return NULL;
    PyObject *m = PyModule_Create(&module);
    if (!m) return NULL;
    if (PyModule_AddObjectRef(m, "Segment", (PyObject *)&segment_type) < 0 ||
        PyModule_AddObjectRef(m, "Builder", (PyObject *)&builder_type) < 0) {
        Py_DECREF(m);
        return NULL;
    }
    return m;
}
