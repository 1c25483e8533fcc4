#pragma once

namespace train::detail {

/// Lists of hexadecimal numbers with spaces between, for Nfc.
extern const char* const nfc_composed;  ///< a character and its two parts, which compose it
extern const char* const nfc_pairs;     ///< a character and its two parts, which stay apart
extern const char* const nfc_singles;   ///< a character and the one that replaces it
extern const char* const nfc_classes;   ///< first and last of neighbours, and their combining class

}  // namespace train::detail
