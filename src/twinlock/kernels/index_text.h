/* Hashes and numbers as they stand in answers. */
#ifndef TWINLOCK_INDEX_TEXT_H
#define TWINLOCK_INDEX_TEXT_H

#include "index_rows.h"
#include "scan_sha256.h"

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

/* What every element of a list begins with: where a transaction is. Gives where the text goes on. */
static inline char *put_place(char *at, int first, const uint8_t *txid, uint64_t height) {
    *at++ = first ? '[' : ',';
    memcpy(at, "{\"height\":", 10);
    at += 10;
    at += put_number(at, height);
    memcpy(at, ",\"tx_hash\":\"", 12);
    put_hash_text(at + 12, txid);
    at[76] = '"';
    return at + 77;
}

#endif
