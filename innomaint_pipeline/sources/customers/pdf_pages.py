"""Pages of a PDF -> what is drawn on them, through pdfium.

Belongs here: pdfium's own interface, in as few calls a letter as will do. Runs in the bounded process alone:
a stranger's file may end it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from ctypes import byref, c_double, c_float, c_int, c_uint, c_void_p
from itertools import pairwise
from math import hypot
from pathlib import Path
from typing import Any

import pypdfium2.raw as pdfium

from innomaint_pipeline.domain.customers.drawn import Box, DrawnPage, DrawnText, Glyph, Rule

_THIN_POINTS = 2.0
_SLANT = 0.02
_INVISIBLE_MODES = {pdfium.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium.FPDF_TEXTRENDERMODE_CLIP}
_SLANTED, _INVISIBLE, _LAYERED = "slanted text", "invisible text", "text in a layer"
_DEEPEST_FORM = 20
_MISJUDGED, _ROUNDING = 0.35, 0.01  # of the type's width; points
_FIRST_LETTER, _FIRST_SURROGATE, _LAST_SURROGATE = 0x20, 0xD800, 0xDFFF


def _bind(function: object, result: type | None, *arguments: type) -> Callable[..., Any]:
    """Return a function of pdfium that takes and gives plain addresses, which is what its calls cost most."""
    return ctypes.CFUNCTYPE(result, *arguments)(_address_of(function))


def _address_of(pointer: Any) -> int:
    return ctypes.cast(pointer, c_void_p).value or 0


_unicode = _bind(pdfium.FPDFText_GetUnicode, c_uint, c_void_p, c_int)
_is_generated = _bind(pdfium.FPDFText_IsGenerated, c_int, c_void_p, c_int)
_is_hyphen = _bind(pdfium.FPDFText_IsHyphen, c_int, c_void_p, c_int)
_has_map_error = _bind(pdfium.FPDFText_HasUnicodeMapError, c_int, c_void_p, c_int)
_text_object = _bind(pdfium.FPDFText_GetTextObject, c_void_p, c_void_p, c_int)
_loose_box = _bind(pdfium.FPDFText_GetLooseCharBox, c_int, c_void_p, c_int, c_void_p)
_origin = _bind(pdfium.FPDFText_GetCharOrigin, c_int, c_void_p, c_int, c_void_p, c_void_p)
_font_size = _bind(pdfium.FPDFText_GetFontSize, c_double, c_void_p, c_int)
_char_matrix = _bind(pdfium.FPDFText_GetMatrix, c_int, c_void_p, c_int, c_void_p)
_page_object = _bind(pdfium.FPDFPage_GetObject, c_void_p, c_void_p, c_int)
_form_object = _bind(pdfium.FPDFFormObj_GetObject, c_void_p, c_void_p, c_uint)
_form_count = _bind(pdfium.FPDFFormObj_CountObjects, c_int, c_void_p)
_object_type = _bind(pdfium.FPDFPageObj_GetType, c_int, c_void_p)
_object_matrix = _bind(pdfium.FPDFPageObj_GetMatrix, c_int, c_void_p, c_void_p)
_bounds = _bind(pdfium.FPDFPageObj_GetBounds, c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)
_fill_colour = _bind(pdfium.FPDFPageObj_GetFillColor, c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)
_count_marks = _bind(pdfium.FPDFPageObj_CountMarks, c_int, c_void_p)
_mark = _bind(pdfium.FPDFPageObj_GetMark, c_void_p, c_void_p, c_uint)
_mark_name = _bind(pdfium.FPDFPageObjMark_GetName, c_int, c_void_p, c_void_p, c_uint, c_void_p)
_render_mode = _bind(pdfium.FPDFTextObj_GetTextRenderMode, c_int, c_void_p)
_clip_path = _bind(pdfium.FPDFPageObj_GetClipPath, c_void_p, c_void_p)
_clip_count = _bind(pdfium.FPDFClipPath_CountPaths, c_int, c_void_p)
_clip_segments = _bind(pdfium.FPDFClipPath_CountPathSegments, c_int, c_void_p, c_int)
_clip_segment = _bind(pdfium.FPDFClipPath_GetPathSegment, c_void_p, c_void_p, c_int, c_int)
_path_segments = _bind(pdfium.FPDFPath_CountSegments, c_int, c_void_p)
_path_segment = _bind(pdfium.FPDFPath_GetPathSegment, c_void_p, c_void_p, c_int)
_draw_mode = _bind(pdfium.FPDFPath_GetDrawMode, c_int, c_void_p, c_void_p, c_void_p)
_segment_point = _bind(pdfium.FPDFPathSegment_GetPoint, c_int, c_void_p, c_void_p, c_void_p)
_segment_type = _bind(pdfium.FPDFPathSegment_GetType, c_int, c_void_p)
_segment_closes = _bind(pdfium.FPDFPathSegment_GetClose, c_int, c_void_p)

_Matrix = tuple[float, float, float, float, float, float]
_AS_IT_IS: _Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


class PdfError(Exception):
    """Pdfium cannot open a file, or load a page of it."""


class PdfPages:
    """The pages of a PDF, one open at a time; close it in the end."""

    def __init__(self, path: Path) -> None:
        pdfium.FPDF_InitLibrary()
        self._document = pdfium.FPDF_LoadDocument(bytes(path), None)
        if not self._document:
            raise PdfError("the PDF cannot be opened")
        self.count = pdfium.FPDF_GetPageCount(self._document)

    def close(self) -> None:
        """Close the file."""
        pdfium.FPDF_CloseDocument(self._document)

    def draw(self, number: int) -> DrawnPage:
        """Return what is drawn on a page, counted from 1. Raises `PdfError` if it cannot be loaded."""
        page = pdfium.FPDF_LoadPage(self._document, number - 1)
        if not page:
            raise PdfError("the page cannot be loaded")
        try:
            text_page = pdfium.FPDFText_LoadPage(page)
            if not text_page:
                raise PdfError("the texts of the page cannot be loaded")
            try:
                return _Reader(page, text_page).read()
            finally:
                pdfium.FPDFText_ClosePage(text_page)
        finally:
            pdfium.FPDF_ClosePage(page)


class _Reader:
    """Reads one loaded page."""

    def __init__(self, page: Any, text_page: Any) -> None:
        box = pdfium.FS_RECTF()
        pdfium.FPDF_GetPageBoundingBox(page, byref(box))
        self._box = Box(box.left, box.bottom, box.right, box.top)
        self._objects = pdfium.FPDFPage_CountObjects(page)
        self._letters = pdfium.FPDFText_CountChars(text_page)
        self._page, self._text_page = _address_of(page), _address_of(text_page)
        self._layered: set[int] = set()
        self._floats = [c_float() for _ in range(4)]
        self._float_refs = [byref(it) for it in self._floats]

    def read(self) -> DrawnPage:
        drawn = DrawnPage(self._box)
        for index in range(self._objects):
            self._read_object(_page_object(self._page, index), _AS_IT_IS, drawn, depth=0, is_layered=False)
        drawn.texts = list(self._read_texts())
        return drawn

    # lines and fills

    def _read_object(
        self, item: int, matrix: _Matrix, drawn: DrawnPage, *, depth: int, is_layered: bool
    ) -> None:
        kind = _object_type(item)
        if kind == pdfium.FPDF_PAGEOBJ_PATH:
            self._read_path(item, matrix, drawn)
        elif kind == pdfium.FPDF_PAGEOBJ_TEXT:
            if is_layered:
                self._layered.add(item)
        elif kind == pdfium.FPDF_PAGEOBJ_FORM:
            if depth == _DEEPEST_FORM:
                raise PdfError(f"found forms within forms more than {_DEEPEST_FORM} deep")
            inner = _concatenate(self._matrix_of(item), matrix)
            is_layered = is_layered or self._is_in_layer(item)
            for index in range(_form_count(item)):
                self._read_object(
                    _form_object(item, index), inner, drawn, depth=depth + 1, is_layered=is_layered
                )

    def _matrix_of(self, item: int) -> _Matrix:
        found = pdfium.FS_MATRIX()
        return _as_tuple(found) if _object_matrix(item, byref(found)) else _AS_IT_IS

    def _read_path(self, item: int, matrix: _Matrix, drawn: DrawnPage) -> None:
        fills, strokes = c_int(), c_int()
        if not _draw_mode(item, byref(fills), byref(strokes)) or not (fills.value or strokes.value):
            return
        if not _bounds(item, *self._float_refs):
            return
        left, bottom, right, top = (it.value for it in self._floats)
        if matrix is not _AS_IT_IS:
            left, bottom, right, top = _transform_box((left, bottom, right, top), matrix)
        is_thin = min(right - left, top - bottom) <= _THIN_POINTS
        if is_thin or (_path_segments(item) <= 5 and not strokes.value):
            _add_box(drawn, left, bottom, right, top)
            return
        for points in self._outlines(item, _concatenate(self._matrix_of(item), matrix)):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            if not strokes.value:
                _add_box(drawn, min(xs), min(ys), max(xs), max(ys))
                continue
            if fills.value:
                drawn.fills.append(Box(min(xs), min(ys), max(xs), max(ys)))
            for (x0, y0), (x1, y1) in pairwise(points):
                if abs(x1 - x0) <= _THIN_POINTS or abs(y1 - y0) <= _THIN_POINTS:
                    _add_box(drawn, min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))

    def _outlines(self, item: int, matrix: _Matrix) -> Iterator[list[tuple[float, float]]]:
        """Yield the corners of each part of a path; a closed one ends where it begins."""
        points: list[tuple[float, float]] = []
        x, y = self._floats[:2]
        for index in range(_path_segments(item)):
            segment = _path_segment(item, index)
            if not _segment_point(segment, *self._float_refs[:2]):
                continue
            if _segment_type(segment) == pdfium.FPDF_SEGMENT_MOVETO and points:
                yield points
                points = []
            points.append(_transform(x.value, y.value, matrix))
            if _segment_closes(segment):
                points.append(points[0])
        if points:
            yield points

    # texts

    def _read_texts(self) -> Iterator[DrawnText]:
        texts: dict[int | None, DrawnText] = {}
        page = self._text_page
        box, y = pdfium.FS_RECTF(), c_double()
        box_ref, x_ref, y_ref = byref(box), byref(c_double()), byref(y)
        text, last, bottom, base = None, None, None, 0.0
        for index in range(self._letters):
            if _is_generated(page, index) == 1:
                continue
            if not _loose_box(page, index, box_ref):
                raise PdfError("the place of a letter cannot be told")
            owner = _text_object(page, index)
            if text is None or owner != last:
                text = texts.get(owner) or texts.setdefault(owner, self._describe(owner, index))
                last, bottom = owner, None
            if box.bottom != bottom:
                _origin(page, index, x_ref, y_ref)
                bottom, base = box.bottom, y.value
            code = _unicode(page, index)
            letter = chr(code) if _FIRST_LETTER <= code < _FIRST_SURROGATE else self._odd_letter(index, code)
            is_readable = _has_map_error(page, index) == 0
            _add_glyph(text, Glyph(letter, box.left, box.right, base, is_readable))
        yield from texts.values()

    def _odd_letter(self, index: int, code: int) -> str:
        if _is_hyphen(self._text_page, index) == 1:
            return "-"
        return chr(code) if code <= sys.maxunicode else "\N{REPLACEMENT CHARACTER}"

    def _describe(self, owner: int | None, index: int) -> DrawnText:
        """Return a text without its letters yet, of which `index` is one."""
        found = pdfium.FS_MATRIX()
        if owner is None or not _char_matrix(self._text_page, index, byref(found)):
            raise PdfError("the place of a text cannot be told")
        font_size = _font_size(self._text_page, index)
        size, width = font_size * hypot(found.c, found.d), font_size * hypot(found.a, found.b)
        oddity = None
        if abs(found.b) > _SLANT * hypot(found.a, found.b) or found.a <= 0 or found.d <= 0:
            oddity = _SLANTED
        elif _render_mode(owner) in _INVISIBLE_MODES:
            oddity = _INVISIBLE
        elif owner in self._layered or self._is_in_layer(owner):
            oddity = _LAYERED
        return DrawnText(size, width, self._clip_of(owner), oddity, self._is_white(owner))

    def _is_in_layer(self, item: int) -> bool:
        name, length = ctypes.create_string_buffer(16), ctypes.c_ulong()
        for index in range(_count_marks(item)):
            mark = _mark(item, index)
            if _mark_name(mark, name, 16, byref(length)) and name.raw[: length.value] == b"O\0C\0\0\0":
                return True
        return False

    def _is_white(self, item: int) -> bool:
        red, green, blue, alpha = (c_uint() for _ in range(4))
        if not _fill_colour(item, byref(red), byref(green), byref(blue), byref(alpha)):
            return False
        return min(red.value, green.value, blue.value) == 255 or alpha.value == 0

    def _clip_of(self, item: int) -> Box | None:
        clip = _clip_path(item)
        found: Box | None = None
        x, y = self._floats[:2]
        for path in range(max(_clip_count(clip), 0) if clip else 0):
            xs, ys = [], []
            for index in range(_clip_segments(clip, path)):
                if _segment_point(_clip_segment(clip, path, index), *self._float_refs[:2]):
                    xs.append(x.value)
                    ys.append(y.value)
            if xs:
                box = Box(min(xs), min(ys), max(xs), max(ys))
                found = box if found is None else _intersect(found, box)
        return found


def _add_glyph(text: DrawnText, glyph: Glyph) -> None:
    glyphs = text.glyphs
    before = glyphs[-1] if glyphs else None
    if before is None or before.base != glyph.base:
        glyphs.append(glyph)
    elif before.left == glyph.left and before.right == glyph.right:
        # Pieces of one: the letters of a ligature, the halves of a character beyond the first 65,536.
        whole = before.text + glyph.text
        if _FIRST_SURROGATE <= ord(glyph.text) <= _LAST_SURROGATE:
            whole = whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        glyphs[-1] = before._replace(text=whole, is_readable=before.is_readable and glyph.is_readable)
    else:
        if before.left < glyph.left < before.right - _ROUNDING:
            # Within one text the next letter tells a width better than the font, in which pdfium does not
            # find every letter's: that of the euro in fonts that are not embedded.
            right = max(glyph.left, before.right - _MISJUDGED * text.width)
            glyphs[-1] = before._replace(right=right)
        glyphs.append(glyph)


def _add_box(drawn: DrawnPage, left: float, bottom: float, right: float, top: float) -> None:
    width, height = right - left, top - bottom
    if min(width, height) > _THIN_POINTS:
        drawn.fills.append(Box(left, bottom, right, top))
    elif width > height and width > _THIN_POINTS:
        drawn.horizontal.append(Rule((bottom + top) / 2, left, right))
    elif height > _THIN_POINTS:
        drawn.vertical.append(Rule((left + right) / 2, bottom, top))


def _intersect(one: Box, other: Box) -> Box:
    return Box(
        max(one.left, other.left),
        max(one.bottom, other.bottom),
        min(one.right, other.right),
        min(one.top, other.top),
    )


def _as_tuple(matrix: pdfium.FS_MATRIX) -> _Matrix:
    return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f


def _concatenate(inner: _Matrix, outer: _Matrix) -> _Matrix:
    a, b, c, d, e, f = inner
    g, h, i, j, k, m = outer
    return (a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m)


def _transform(x: float, y: float, matrix: _Matrix) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _transform_box(
    box: tuple[float, float, float, float], matrix: _Matrix
) -> tuple[float, float, float, float]:
    left, bottom, right, top = box
    corners = [_transform(x, y, matrix) for x in (left, right) for y in (bottom, top)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
