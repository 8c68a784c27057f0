/* The first of three ways to a segment: a whole chain at once (Builder). The others, one block on top of other segments
   and several segments into one, are in index_connect.h and index_merge.h. All end in the same assembly. */
#ifndef TWINLOCK_INDEX_BUILD_H
#define TWINLOCK_INDEX_BUILD_H

#include "index_segment.h"
#include "merkle.h"
#include "scan_block.h"

#define PARTS 256 /* by the leading byte of a key, so that each part's work fits into the processor's cache */

/* Funding and spending rows are matched by a keyed 96-bit hash of the outpoint, part by part */

typedef struct { uint64_t key, value, name_hi; uint32_t check, tx, vout, name_lo; } funding; /* name_lo: top 3 bytes */
typedef struct { uint64_t key; uint32_t check, tx; } spending;

typedef struct {
    PyObject_HEAD
    visitor v; /* needs to be found from the visitor's address */
    vec funds[PARTS], spent[PARTS], touches[PARTS], unspent[PARTS];
    vec pending; /* outputs of the transaction that is being read: its hash comes last */
    vec txids, offsets, points;
    uint64_t seed[8], txs, entries, coins, scripts;
    int genesis;
} builder;

#define BUILDER(visitor_) ((builder *)((char *)(visitor_)-offsetof(builder, v)))

static inline uint64_t fold(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Nobody who does not know the seed can make two outpoints meet. */
static inline uint64_t outpoint_key(const uint64_t seed[8], const uint8_t *txid, uint32_t vout, uint32_t *check) {
    uint64_t a = get64(txid), b = get64(txid + 8), c = get64(txid + 16), d = get64(txid + 24);
    uint64_t n = vout * 0x9e3779b97f4a7c15u;
    *check = (uint32_t)(fold(a ^ seed[4], c ^ seed[5] ^ n) + fold(b ^ seed[6], d ^ seed[7]));
    return fold(fold(a ^ seed[0], b ^ seed[1]) ^ n, fold(c ^ seed[2], d ^ seed[3]) ^ seed[4]);
}

static int build_count(visitor *v, uint64_t txs, uint32_t offset) {
    builder *b = BUILDER(v);
    if (vec_room(&b->txids, 32 * txs) || vec_room(&b->offsets, 4 * (txs + 1))) return -1;
    put32(vec_push(&b->offsets, 4), offset);
    return 0;
}

static int build_input(visitor *v, uint32_t index, const uint8_t *point) {
    builder *b = BUILDER(v);
    uint32_t check;
    uint64_t key = outpoint_key(b->seed, point, get32(point + 32), &check);
    spending *row = vec_push(&b->spent[key >> 56], sizeof *row);
    if (!row) return -1;
    *row = (spending){key, check, (uint32_t)(b->txs + index)};
    return 0;
}

static int build_output(visitor *v, uint32_t index, uint32_t vout, uint64_t value, const uint8_t *script, size_t size) {
    builder *b = BUILDER(v);
    if (b->genesis) return 0; /* the first block's coins cannot be spent */
    funding *row = vec_push(&b->pending, sizeof *row);
    if (!row) return -1;
    uint8_t digest[32];
    sha256_once(script, size, digest);
    *row = (funding){0, value, big64(digest), 0, (uint32_t)(b->txs + index), vout, (uint32_t)(name_lo(digest) >> 40)};
    return 0;
}

static int build_tx(visitor *v, uint32_t end, const uint8_t txid[32]) {
    builder *b = BUILDER(v);
    memcpy(vec_push(&b->txids, 32), txid, 32);
    put32(vec_push(&b->offsets, 4), end); /* where the next one begins */
    funding *rows = ROWS(&b->pending, funding);
    for (size_t i = 0; i < COUNT(&b->pending, funding); i++) {
        rows[i].key = outpoint_key(b->seed, txid, rows[i].vout, &rows[i].check);
        funding *row = vec_push(&b->funds[rows[i].key >> 56], sizeof *row);
        if (!row) return -1;
        *row = rows[i];
    }
    b->pending.size = 0;
    return 0;
}

static PyObject *builder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    Py_buffer seed;
    unsigned long long txs = 0;
    if (kwargs && PyDict_GET_SIZE(kwargs)) return PyErr_Format(PyExc_TypeError, "Builder takes no keywords");
    if (!PyArg_ParseTuple(args, "y*|K", &seed, &txs)) return NULL;
    builder *b = (builder *)type->tp_alloc(type, 0);
    if (b && seed.len == sizeof b->seed) memcpy(b->seed, seed.buf, sizeof b->seed);
    else if (b) {
        Py_CLEAR(b);
        PyErr_SetString(PyExc_ValueError, "the seed is 64 bytes long");
    }
    PyBuffer_Release(&seed);
    if (b) b->v = (visitor){build_count, build_input, build_output, build_tx}, b->txs = txs, b->genesis = !txs;
    return (PyObject *)b;
}

static void builder_dealloc(builder *b) {
    for (int i = 0; i < PARTS; i++)
        vec_free(&b->funds[i]), vec_free(&b->spent[i]), vec_free(&b->touches[i]), vec_free(&b->unspent[i]);
    vec_free(&b->pending), vec_free(&b->txids), vec_free(&b->offsets), vec_free(&b->points);
    Py_TYPE(b)->tp_free((PyObject *)b);
}

static PyObject *builder_add(builder *b, PyObject *args) {
    Py_buffer raw;
    int auxpow = 0, coinless = 0, genesis = b->genesis;
    if (!PyArg_ParseTuple(args, "y*|pp", &raw, &auxpow, &coinless)) return NULL;
    size_t header = 0;
    int failed;
    b->genesis |= coinless;
    b->txids.size = b->offsets.size = b->pending.size = 0;
    Py_BEGIN_ALLOW_THREADS;
    uint8_t root[32];
    failed = walk_block(raw.buf, (size_t)raw.len, auxpow, &b->v, &header);
    if (!failed) failed = merkle_root_of(b->txids.data, b->txids.size / 32, root);
    if (!failed) failed = memcmp(root, (const uint8_t *)raw.buf + 36, 32) ? 2 : 0;
    Py_END_ALLOW_THREADS;
    b->genesis = genesis;
    PyObject *result = NULL;
    if (failed < 0) PyErr_NoMemory();
    else if (failed == 2) PyErr_SetString(PyExc_ValueError, "the block's transactions are not those of its header");
    else if (failed || !b->txids.size || b->txs + b->txids.size / 32 > UINT32_MAX)
        PyErr_SetString(PyExc_ValueError, "the bytes are not a block");
    else {
        b->genesis = 0;
        b->txs += b->txids.size / 32;
        result = Py_BuildValue("y#y#y#", raw.buf, (Py_ssize_t)header, BYTES_OF(b->txids), BYTES_OF(b->offsets));
    }
    PyBuffer_Release(&raw);
    return result;
}

static int push_touch(vec *v, uint64_t hi, uint64_t name, uint32_t tx) {
    touch *row = vec_push(v, sizeof *row);
    if (!row) return -1;
    *row = (touch){hi, name << 40 | (uint64_t)tx << 8};
    return 0;
}

/* Match one part. Gives the number of spendings that found no funding, or -1. */
static int64_t join_part(builder *b, int part) {
    funding *f = ROWS(&b->funds[part], funding);
    spending *s = ROWS(&b->spent[part], spending);
    size_t funds = COUNT(&b->funds[part], funding), spends = COUNT(&b->spent[part], spending), slots = 16;
    while (slots < 2 * funds) slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table); /* 1 + index of a funding row; 0 is free */
    if (!table) return -1;
    for (size_t i = 0; i < funds; i++) {
        size_t at = f[i].key & (slots - 1);
        for (; table[at]; at = (at + 1) & (slots - 1)) {
            funding *other = &f[table[at] - 1];
            if (other->key == f[i].key && other->check == f[i].check) {
                other->vout = UINT32_MAX; /* a coinbase that was there before (BIP30): only the later one counts */
                break;
            }
        }
        table[at] = (uint32_t)i + 1;
    }
    int64_t lost = 0;
    for (size_t i = 0; i < spends; i++) {
        size_t at = s[i].key & (slots - 1);
        while (table[at] && (f[table[at] - 1].key != s[i].key || f[table[at] - 1].check != s[i].check)) at = (at + 1) & (slots - 1);
        if (!table[at]) {
            lost++;
            continue;
        }
        funding *row = &f[table[at] - 1];
        if (push_touch(&b->touches[row->name_hi >> 56], row->name_hi, row->name_lo, s[i].tx) < 0) goto full;
        row->key = 0;
        row->check = UINT32_MAX;
        row->value |= 1ull << 63; /* spent: no amount is that large */
    }
    for (size_t i = 0; i < funds; i++) {
        if (f[i].vout == UINT32_MAX) continue;
        if (push_touch(&b->touches[f[i].name_hi >> 56], f[i].name_hi, f[i].name_lo, f[i].tx) < 0) goto full;
        if (f[i].value >> 63) continue;
        coin *row = vec_push(&b->unspent[f[i].name_hi >> 56], sizeof *row);
        if (!row) goto full;
        *row = (coin){f[i].name_hi, (uint64_t)f[i].name_lo << 40 | (uint64_t)f[i].tx << 8, f[i].value, f[i].vout, 0};
    }
    free(table);
    vec_free(&b->funds[part]), vec_free(&b->spent[part]);
    return lost;
full:
    free(table);
    return -1;
}

static int part_of(PyObject *args, int *part) {
    if (!PyArg_ParseTuple(args, "i", part)) return -1;
    if (*part >= 0 && *part < PARTS) return 0;
    PyErr_Format(PyExc_ValueError, "there are parts 0 to %d", PARTS - 1);
    return -1;
}

static PyObject *builder_join(builder *b, PyObject *args) {
    int part;
    int64_t lost;
    if (part_of(args, &part) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    lost = join_part(b, part);
    Py_END_ALLOW_THREADS;
    if (lost < 0) return PyErr_NoMemory();
    if (lost) return PyErr_Format(PyExc_ValueError, "%lld inputs spend what no block before them holds", (long long)lost);
    Py_RETURN_NONE;
}

static PyObject *builder_held(builder *b, PyObject *unused) {
    size_t size = b->points.room;
    (void)unused;
    for (int i = 0; i < PARTS; i++) size += b->funds[i].room + b->spent[i].room + b->touches[i].room + b->unspent[i].room;
    return PyLong_FromSize_t(size);
}

/* Give two vectors away as bytes, or take such bytes back in. */
static PyObject *take_two(vec *first, vec *second) {
    PyObject *result = Py_BuildValue("y#y#", BYTES_OF(*first), BYTES_OF(*second));
    if (result) vec_free(first), vec_free(second);
    return result;
}

/* Take in the rows of one slice of a part: those whose key, the row's first number, has this byte after its first. */
static int give_rows(vec *to, const Py_buffer *from, size_t row_size, int slice, int slices) {
    if (slices == 1) {
        if (!from->len) return 0;
        if (vec_room(to, (size_t)from->len)) return -1;
        memcpy(to->data + to->size, from->buf, (size_t)from->len);
        to->size += (size_t)from->len;
        return 0;
    }
    const uint8_t *row = from->buf, *end = row + from->len;
    for (; row < end; row += row_size) {
        if ((int)(get64(row) >> 48 & 255) * slices >> 8 != slice) continue;
        uint8_t *at = vec_push(to, row_size);
        if (!at) return -1;
        memcpy(at, row, row_size);
    }
    return 0;
}

static PyObject *give_two(PyObject *args, vec *first_of, vec *second_of, size_t first_size, size_t second_size) {
    Py_buffer first, second;
    int part, slice = 0, slices = 1;
    if (!PyArg_ParseTuple(args, "iy*y*|ii", &part, &first, &second, &slice, &slices)) return NULL;
    int good = part >= 0 && part < PARTS && slices > 0 && slices <= 256 && !(first.len % (Py_ssize_t)first_size) &&
               !(second.len % (Py_ssize_t)second_size);
    int failed = good && (give_rows(&first_of[part], &first, first_size, slice, slices) ||
                          give_rows(&second_of[part], &second, second_size, slice, slices));
    PyBuffer_Release(&first), PyBuffer_Release(&second);
    if (!good) return PyErr_Format(PyExc_ValueError, "the rows are damaged");
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *builder_take(builder *b, PyObject *args) {
    int part;
    return part_of(args, &part) < 0 ? NULL : take_two(&b->funds[part], &b->spent[part]);
}

static PyObject *builder_give(builder *b, PyObject *args) {
    return give_two(args, b->funds, b->spent, sizeof(funding), sizeof(spending));
}

static PyObject *builder_take_joined(builder *b, PyObject *args) {
    int part;
    return part_of(args, &part) < 0 ? NULL : take_two(&b->touches[part], &b->unspent[part]);
}

static PyObject *builder_give_joined(builder *b, PyObject *args) {
    return give_two(args, b->touches, b->unspent, sizeof(touch), sizeof(coin));
}

static PyObject *no_sections(const sections *s) {
    if (!s->damaged) return PyErr_NoMemory();
    return PyErr_Format(PyExc_ValueError, "the rows are damaged");
}

static PyObject *builder_part(builder *b, PyObject *args) {
    int part, last = -1;
    if (!PyArg_ParseTuple(args, "i|p", &part, &last)) return NULL;
    if (part < 0 || part >= PARTS) return PyErr_Format(PyExc_ValueError, "there are parts 0 to %d", PARTS - 1);
    if (last < 0) last = part == PARTS - 1;
    sections s = {0};
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    s.points = b->points;
    failed = assemble(&s, &b->touches[part], &b->unspent[part], 8, b->entries, b->coins, b->scripts);
    b->points = s.points;
    s.points = (vec){0};
    b->entries += s.history.size / 4, b->coins += s.coins.size / COIN_ROW, b->scripts += s.scripts.size / SCRIPT_ROW;
    vec_free(&b->touches[part]), vec_free(&b->unspent[part]);
    if (!failed && last) failed = close_scripts(&s, b->entries, b->coins);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? no_sections(&s) : Py_BuildValue("y#y#y#", BYTES_OF(s.scripts), BYTES_OF(s.history), BYTES_OF(s.coins));
    sections_free(&s);
    return result;
}

static PyObject *builder_outpoints(builder *b, PyObject *unused) {
    (void)unused;
    vec out = {0};
    int failed;
    Py_BEGIN_ALLOW_THREADS;
    failed = put_outpoints(&b->points, &out);
    vec_free(&b->points);
    Py_END_ALLOW_THREADS;
    PyObject *result = failed ? PyErr_NoMemory() : Py_BuildValue("y#", BYTES_OF(out));
    vec_free(&out);
    return result;
}

static PyMethodDef builder_methods[] = {
    {"add", (PyCFunction)builder_add, METH_VARARGS, "add(raw, auxpow=False, coinless=False) -> (header, txids, offsets)"},
    {"held", (PyCFunction)builder_held, METH_NOARGS, "held() -> bytes of memory that rows take"},
    {"take", (PyCFunction)builder_take, METH_VARARGS, "take(part) -> (fundings, spendings), which it no longer holds"},
    {"give", (PyCFunction)builder_give, METH_VARARGS, "give(part, fundings, spendings, slice=0, slices=1): hold them again"},
    {"join", (PyCFunction)builder_join, METH_VARARGS, "join(part): match its fundings and spendings"},
    {"take_joined", (PyCFunction)builder_take_joined, METH_VARARGS, "take_joined(part) -> (touches, coins)"},
    {"give_joined", (PyCFunction)builder_give_joined, METH_VARARGS, "give_joined(part, touches, coins, slice=0, slices=1)"},
    {"part", (PyCFunction)builder_part, METH_VARARGS, "part(0..255, last=part == 255), in order -> (scripts, history, coins)"},
    {"outpoints", (PyCFunction)builder_outpoints, METH_NOARGS, "outpoints() -> rows of the parts since the last time, sorted"},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject builder_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "twinlock.kernels._index.Builder",
    .tp_basicsize = sizeof(builder),
    .tp_dealloc = (destructor)builder_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Builds a segment from a chain's beginning on.",
    .tp_methods = builder_methods,
    .tp_new = builder_new,
};

#endif
