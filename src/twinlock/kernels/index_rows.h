/* The rows that an index segment is made of, their sorting, and their assembly into sections.

   A script's name (hashX, 11 bytes) is held as two big-endian numbers, so that rows sort as integers:
   hi = its first 8 bytes; the top 24 bits of lo = its last 3, below them a transaction number. */
#ifndef TWINLOCK_INDEX_ROWS_H
#define TWINLOCK_INDEX_ROWS_H

#include "vec.h"

#define HASHX 11
#define SCRIPT_ROW 20   /* hashX[11], first history entry (5 bytes), first coin (4 bytes) */
#define COIN_ROW 16     /* transaction u32, vout u32, value u64 */
#define OUTPOINT_ROW 12 /* transaction u32, vout u32, script row u32 */
#define SPEND_ROW 40    /* hashX[11], 0, vout u32, funding transaction u64, value u64, spender u32, 0 */
#define BLOCK_ROW 32    /* first transaction u64, header's offset u32, file u32, position u32, size u32, 0 u64 */

typedef struct { uint64_t hi, lo; } touch; /* lo: name << 40 | transaction << 8 */
typedef struct { uint64_t hi, lo, value; uint32_t vout, unused; } coin;
typedef struct { uint64_t hi, lo, funding, value; uint32_t vout, spender; } spend; /* lo: name << 40 */
typedef struct { uint64_t point; uint32_t script, unused; } outpoint; /* point: transaction << 32 | vout */
typedef struct { uint64_t key; } number64;

#define LESS_TOUCH(a, b) ((a).hi != (b).hi ? (a).hi < (b).hi : (a).lo < (b).lo)
#define LESS_COIN(a, b) ((a).hi != (b).hi ? (a).hi < (b).hi : (a).lo != (b).lo ? (a).lo < (b).lo : (a).vout < (b).vout)
#define LESS_SPEND(a, b)                                                                                       \
    ((a).hi != (b).hi             ? (a).hi < (b).hi                                                            \
     : (a).lo != (b).lo           ? (a).lo < (b).lo                                                            \
     : (a).funding != (b).funding ? (a).funding < (b).funding                                                  \
                                  : (a).vout < (b).vout)
#define LESS_OUTPOINT(a, b) ((a).point < (b).point)
#define LESS_NUMBER(a, b) ((a).key < (b).key)

/* Quicksort, with insertion for what is small. `name##_spread` first deals rows whose `top` 64 bits are evenly
   spread into buckets, so that nearly all of the work stays inside the processor's cache. */
#define DEFINE_SORT(name, type, LESS, TOP)                                                                     \
    static void name(type *rows, size_t size) {                                                                \
        while (size > 24) {                                                                                    \
            type a = rows[0], b = rows[size / 2], c = rows[size - 1];                                          \
            type pivot = LESS(a, b) ? (LESS(b, c) ? b : LESS(a, c) ? c : a) : (LESS(a, c) ? a : LESS(b, c) ? c : b); \
            size_t i = 0, j = size - 1;                                                                        \
            for (;; i++, j--) {                                                                                \
                while (LESS(rows[i], pivot)) i++;                                                              \
                while (LESS(pivot, rows[j])) j--;                                                              \
                if (i >= j) break;                                                                             \
                type swap = rows[i];                                                                           \
                rows[i] = rows[j];                                                                             \
                rows[j] = swap;                                                                                \
            }                                                                                                  \
            size_t left = j + 1;                                                                               \
            if (left < size - left) {                                                                          \
                name(rows, left);                                                                              \
                rows += left, size -= left;                                                                    \
            } else {                                                                                           \
                name(rows + left, size - left);                                                                \
                size = left;                                                                                   \
            }                                                                                                  \
        }                                                                                                      \
        for (size_t i = 1; i < size; i++) {                                                                    \
            type row = rows[i];                                                                                \
            size_t j = i;                                                                                      \
            for (; j && LESS(row, rows[j - 1]); j--) rows[j] = rows[j - 1];                                    \
            rows[j] = row;                                                                                     \
        }                                                                                                      \
    }                                                                                                          \
    __attribute__((unused)) static int name##_spread(type *rows, size_t size, int skip) {                      \
        int bits = 0;                                                                                          \
        while (bits < 14 && (size >> (bits + 4))) bits++;                                                      \
        if (bits < 4) {                                                                                        \
            name(rows, size);                                                                                  \
            return 0;                                                                                          \
        }                                                                                                      \
        size_t buckets = (size_t)1 << bits, *at = calloc(buckets + 1, sizeof *at);                             \
        type *dealt = malloc(size * sizeof *dealt);                                                            \
        if (!at || !dealt) {                                                                                   \
            free(at), free(dealt);                                                                             \
            return -1;                                                                                         \
        }                                                                                                      \
        for (size_t i = 0; i < size; i++) at[((TOP(rows[i]) << skip) >> (64 - bits)) + 1]++;                   \
        for (size_t i = 1; i <= buckets; i++) at[i] += at[i - 1];                                              \
        for (size_t i = 0; i < size; i++) dealt[at[(TOP(rows[i]) << skip) >> (64 - bits)]++] = rows[i];        \
        memcpy(rows, dealt, size * sizeof *rows);                                                              \
        for (size_t i = 0, from = 0; i < buckets; from = at[i++]) name(rows + from, at[i] - from);             \
        free(at), free(dealt);                                                                                 \
        return 0;                                                                                              \
    }

#define TOP_HI(row) ((row).hi)
#define TOP_POINT(row) ((row).point)
#define TOP_KEY(row) ((row).key)
DEFINE_SORT(sort_touches, touch, LESS_TOUCH, TOP_HI)
DEFINE_SORT(sort_coins, coin, LESS_COIN, TOP_HI)
DEFINE_SORT(sort_spends, spend, LESS_SPEND, TOP_HI)
DEFINE_SORT(sort_outpoints, outpoint, LESS_OUTPOINT, TOP_POINT)
DEFINE_SORT(sort_numbers, number64, LESS_NUMBER, TOP_KEY)

static inline uint64_t big64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return __builtin_bswap64(x);
}

static inline uint32_t get32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

static inline uint64_t get64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

static inline void put32(uint8_t *p, uint32_t x) { memcpy(p, &x, 4); }
static inline void put64(uint8_t *p, uint64_t x) { memcpy(p, &x, 8); }

static inline uint64_t name_lo(const uint8_t *hashx) {
    return (uint64_t)hashx[8] << 56 | (uint64_t)hashx[9] << 48 | (uint64_t)hashx[10] << 40;
}

static inline void put_name(uint8_t *p, uint64_t hi, uint64_t lo) {
    put64(p, __builtin_bswap64(hi));
    p[8] = (uint8_t)(lo >> 56), p[9] = (uint8_t)(lo >> 48), p[10] = (uint8_t)(lo >> 40);
}

/* The sections of a segment that are sorted by script, as they grow. */
typedef struct {
    vec scripts, history, coins, points, spends;
    int damaged; /* the rows given are not of one piece: what failed was not the memory */
} sections;

static void sections_free(sections *s) {
    vec_free(&s->scripts), vec_free(&s->history), vec_free(&s->coins), vec_free(&s->points), vec_free(&s->spends);
}

static int put_script(sections *s, uint64_t hi, uint64_t lo, uint64_t entries, uint64_t coins) {
    uint8_t *row = vec_push(&s->scripts, SCRIPT_ROW);
    if (!row) return -1;
    put_name(row, hi, lo);
    put32(row + 11, (uint32_t)entries);
    row[15] = (uint8_t)(entries >> 32);
    put32(row + 16, (uint32_t)coins);
    return 0;
}

/* Sort rows and append them, script by script; `skip` leading bits are the same in all names. `entries_before`,
   `coins_before`, `scripts_before` count what earlier parts already gave away. -1 without memory, or with `damaged` set. */
static int assemble(sections *s, vec *touches, vec *unspent, int skip, uint64_t entries_before, uint64_t coins_before,
                    uint64_t scripts_before) {
    touch *t = ROWS(touches, touch), *t_end = t + COUNT(touches, touch);
    coin *c = ROWS(unspent, coin), *c_end = c + COUNT(unspent, coin);
    if (sort_touches_spread(t, COUNT(touches, touch), skip) || sort_coins_spread(c, COUNT(unspent, coin), skip)) return -1;
    if (vec_room(&s->history, 4 * COUNT(touches, touch)) || vec_room(&s->coins, COIN_ROW * COUNT(unspent, coin))) return -1;
    while (t < t_end) {
        uint64_t hi = t->hi, name = t->lo >> 40;
        uint32_t script = (uint32_t)(scripts_before + s->scripts.size / SCRIPT_ROW);
        if (put_script(s, hi, t->lo, entries_before + s->history.size / 4, coins_before + s->coins.size / COIN_ROW)) return -1;
        uint64_t last = UINT64_MAX;
        for (; t < t_end && t->hi == hi && t->lo >> 40 == name; t++) {
            if (t->lo == last) continue; /* several outputs or inputs of one transaction */
            last = t->lo;
            put32(vec_push(&s->history, 4), (uint32_t)(last >> 8));
        }
        for (; c < c_end && c->hi == hi && c->lo >> 40 == name; c++) {
            uint8_t *row = vec_push(&s->coins, COIN_ROW);
            uint32_t tx = (uint32_t)(c->lo >> 8);
            put32(row, tx);
            put32(row + 4, c->vout);
            put64(row + 8, c->value);
            outpoint *point = vec_push(&s->points, sizeof(outpoint));
            if (!point) return -1;
            *point = (outpoint){(uint64_t)tx << 32 | c->vout, script, 0};
        }
    }
    s->damaged = c != c_end; /* a coin of a script that no transaction touches */
    return s->damaged ? -1 : 0;
}

/* The row after the last one says where its predecessor ends. */
static int close_scripts(sections *s, uint64_t entries, uint64_t coins) {
    return put_script(s, UINT64_MAX, UINT64_MAX, entries, coins);
}

static int put_outpoints(vec *points, vec *out) {
    outpoint *p = ROWS(points, outpoint);
    size_t size = COUNT(points, outpoint);
    sort_outpoints(p, size);
    if (vec_room(out, OUTPOINT_ROW * size)) return -1;
    for (size_t i = 0; i < size; i++) {
        uint8_t *row = vec_push(out, OUTPOINT_ROW);
        put32(row, (uint32_t)(p[i].point >> 32));
        put32(row + 4, (uint32_t)p[i].point);
        put32(row + 8, p[i].script);
    }
    return 0;
}

static int put_spends(vec *spends, vec *out) {
    spend *s = ROWS(spends, spend);
    size_t size = COUNT(spends, spend);
    if (sort_spends_spread(s, size, 0) || vec_room(out, SPEND_ROW * size)) return -1;
    for (size_t i = 0; i < size; i++) {
        uint8_t *row = vec_push(out, SPEND_ROW);
        memset(row, 0, SPEND_ROW);
        put_name(row, s[i].hi, s[i].lo);
        put32(row + 12, s[i].vout);
        put64(row + 16, s[i].funding);
        put64(row + 24, s[i].value);
        put32(row + 32, s[i].spender);
    }
    return 0;
}

/* Transactions by the first 4 bytes of their hash (as a number, big-endian): prefix << 32 | number. */
static int put_lookup(const uint8_t *txids, size_t count, uint64_t first, vec *out) {
    if (vec_room(out, 8 * count)) return -1;
    for (size_t i = 0; i < count; i++) {
        uint64_t *row = vec_push(out, 8);
        *row = (uint64_t)__builtin_bswap32(get32(txids + 32 * i)) << 32 | (first + i);
    }
    return sort_numbers_spread(ROWS(out, number64), count, 0);
}

#endif
