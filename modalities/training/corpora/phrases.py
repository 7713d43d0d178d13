"""How a caption is worded in each language: data only. `{x}` is the object, `{s}` what stands so far, `{c}` a colour.

Colours agree with the word for "background" in each language. Names are not inflected after a number (except in
English, where it is cheap to do right): the text encoder reads pieces of words, and the benchmark's prompts are
inflected properly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COLOURS = ("white", "black", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """One language. frames: whole captions. two, three: counted objects. three_d, flat, backgrounds: what is added."""

    colours: Mapping[str, str]
    frames: tuple[str, ...]
    two: tuple[str, ...]
    three: tuple[str, ...]
    tints: tuple[str, ...]
    backgrounds: tuple[str, ...]
    three_d: tuple[str, ...]
    flat: tuple[str, ...]


def _colours(words: str) -> dict[str, str]:
    return dict(zip(COLOURS, words.split("|"), strict=True))


PHRASES: dict[str, Phrases] = {
    "en": Phrases(
        colours=_colours("white|black|gray|red|orange|yellow|green|blue|purple|pink"),
        frames=("{x}", "a {x}", "a picture of a {x}", "an illustration of {x}", "{x} icon", "image: {x}"),
        two=("two {x}", "a pair of {x}", "2 {x}"),
        three=("three {x}", "3 {x}"),
        tints=("{c} {x}", "{x} coloured {c}"),
        backgrounds=("{s} on a {c} background", "{s}, {c} background", "{s} with a plain {c} backdrop"),
        three_d=("3D render of {s}", "{s}, 3D style", "glossy 3D {s}"),
        flat=("flat {s}", "{s}, flat style", "flat drawing of {s}"),
    ),
    "fr": Phrases(
        colours=_colours("blanc|noir|gris|rouge|orange|jaune|vert|bleu|violet|rose"),
        frames=("{x}", "un {x}", "une image de {x}", "icône : {x}", "une {x}"),
        two=("deux {x}", "2 {x}"),
        three=("trois {x}", "3 {x}"),
        tints=("{x} {c}", "{x} de couleur {c}"),
        backgrounds=("{s} sur fond {c}", "{s}, fond {c}", "{s} sur un arrière-plan {c}"),
        three_d=("{s} en 3D", "rendu 3D : {s}"),
        flat=("{s} en style plat", "dessin plat : {s}"),
    ),
    "es": Phrases(
        colours=_colours("blanco|negro|gris|rojo|naranja|amarillo|verde|azul|morado|rosa"),
        frames=("{x}", "un {x}", "una imagen de {x}", "icono de {x}", "una {x}"),
        two=("dos {x}", "2 {x}"),
        three=("tres {x}", "3 {x}"),
        tints=("{x} {c}", "{x} de color {c}"),
        backgrounds=("{s} sobre fondo {c}", "{s}, fondo {c}", "{s} en un fondo {c}"),
        three_d=("{s} en 3D", "render 3D de {s}"),
        flat=("{s} en estilo plano", "dibujo plano de {s}"),
    ),
    "de": Phrases(
        colours=_colours("weißem|schwarzem|grauem|rotem|orangem|gelbem|grünem|blauem|lila|rosa"),
        frames=("{x}", "ein {x}", "ein Bild von {x}", "Symbol: {x}", "eine {x}"),
        two=("zwei {x}", "2 {x}"),
        three=("drei {x}", "3 {x}"),
        tints=("{x} in {c}", "{x}, gefärbt in {c}"),
        backgrounds=("{s} auf {c} Hintergrund", "{s} vor {c} Hintergrund", "{s} mit {c} Hintergrund"),
        three_d=("{s} in 3D", "3D-Darstellung: {s}"),
        flat=("{s} im flachen Stil", "flache Zeichnung: {s}"),
    ),
    "it": Phrases(
        colours=_colours("bianco|nero|grigio|rosso|arancione|giallo|verde|blu|viola|rosa"),
        frames=("{x}", "un {x}", "immagine di {x}", "icona: {x}", "una {x}"),
        two=("due {x}", "2 {x}"),
        three=("tre {x}", "3 {x}"),
        tints=("{x} {c}", "{x} di colore {c}"),
        backgrounds=("{s} su sfondo {c}", "{s}, sfondo {c}", "{s} su uno sfondo {c}"),
        three_d=("{s} in 3D", "rendering 3D di {s}"),
        flat=("{s} in stile piatto", "disegno piatto di {s}"),
    ),
    "pt": Phrases(
        colours=_colours("branco|preto|cinza|vermelho|laranja|amarelo|verde|azul|roxo|rosa"),
        frames=("{x}", "um {x}", "uma imagem de {x}", "ícone de {x}", "uma {x}"),
        two=("dois {x}", "2 {x}"),
        three=("três {x}", "3 {x}"),
        tints=("{x} {c}", "{x} de cor {c}"),
        backgrounds=("{s} sobre fundo {c}", "{s}, fundo {c}", "{s} em um fundo {c}"),
        three_d=("{s} em 3D", "renderização 3D de {s}"),
        flat=("{s} em estilo plano", "desenho plano de {s}"),
    ),
    "nl": Phrases(
        colours=_colours("witte|zwarte|grijze|rode|oranje|gele|groene|blauwe|paarse|roze"),
        frames=("{x}", "een {x}", "een afbeelding van {x}", "pictogram: {x}"),
        two=("twee {x}", "2 {x}"),
        three=("drie {x}", "3 {x}"),
        tints=("{c} {x}", "een {c} {x}"),
        backgrounds=("{s} op een {c} achtergrond", "{s}, {c} achtergrond", "{s} tegen {c} achtergrond"),
        three_d=("{s} in 3D", "3D-weergave van {s}"),
        flat=("{s} in vlakke stijl", "vlakke tekening van {s}"),
    ),
    "pl": Phrases(
        colours=_colours("białym|czarnym|szarym|czerwonym|pomarańczowym|żółtym|zielonym|niebieskim|fioletowym|różowym"),
        frames=("{x}", "obrazek: {x}", "ikona: {x}", "to jest {x}"),
        two=("dwa {x}", "2 {x}"),
        three=("trzy {x}", "3 {x}"),
        tints=("{x} w kolorze {c}", "{x} o {c} kolorze"),
        backgrounds=("{s} na {c} tle", "{s}, na {c} tle", "{s} przed {c} tłem"),
        three_d=("{s} w 3D", "render 3D: {s}"),
        flat=("{s} w płaskim stylu", "płaski rysunek: {s}"),
    ),
    "ru": Phrases(
        colours=_colours("белом|чёрном|сером|красном|оранжевом|жёлтом|зелёном|синем|фиолетовом|розовом"),
        frames=("{x}", "изображение: {x}", "значок: {x}", "это {x}"),
        two=("два {x}", "2 {x}"),
        three=("три {x}", "3 {x}"),
        tints=("{x} в {c} цвете", "{x}, в {c}"),
        backgrounds=("{s} на {c} фоне", "{s}, на {c} фоне", "{s} на однотонном {c} фоне"),
        three_d=("{s} в 3D", "3D-рендер: {s}"),
        flat=("{s} в плоском стиле", "плоский рисунок: {s}"),
    ),
    "tr": Phrases(
        colours=_colours("beyaz|siyah|gri|kırmızı|turuncu|sarı|yeşil|mavi|mor|pembe"),
        frames=("{x}", "bir {x}", "{x} resmi", "simge: {x}"),
        two=("iki {x}", "2 {x}"),
        three=("üç {x}", "3 {x}"),
        tints=("{c} {x}", "{c} renkli {x}"),
        backgrounds=("{c} arka plan üzerinde {s}", "{s}, {c} arka plan", "{c} arka planda {s}"),
        three_d=("3D {s}", "{s}, 3D tarzında"),
        flat=("düz stilde {s}", "{s}, düz çizim"),
    ),
    "ar": Phrases(
        colours=_colours("بيضاء|سوداء|رمادية|حمراء|برتقالية|صفراء|خضراء|زرقاء|بنفسجية|وردية"),
        frames=("{x}", "صورة {x}", "رمز {x}", "رسم: {x}"),
        two=("اثنان من {x}", "2 {x}"),
        three=("ثلاثة {x}", "3 {x}"),
        tints=("{x} {c}", "{x} بألوان {c}"),
        backgrounds=("{s} على خلفية {c}", "{s}، خلفية {c}", "{s} مع خلفية {c}"),
        three_d=("{s} ثلاثي الأبعاد", "{s} بأسلوب 3D"),
        flat=("{s} بأسلوب مسطح", "رسم مسطح: {s}"),
    ),
    "ja": Phrases(
        colours=_colours("白い|黒い|灰色の|赤い|オレンジ色の|黄色い|緑の|青い|紫の|ピンクの"),
        frames=("{x}", "{x}の絵", "{x}の画像", "{x}のアイコン"),
        two=("2つの{x}", "二つの{x}"),
        three=("3つの{x}", "三つの{x}"),
        tints=("{c}{x}", "{c}色合いの{x}"),
        backgrounds=("{c}背景の{s}", "{s}、{c}背景", "{c}背景に{s}"),
        three_d=("3Dの{s}", "{s}、3D風"),
        flat=("フラットな{s}", "{s}、フラットデザイン"),
    ),
    "zh": Phrases(
        colours=_colours("白色|黑色|灰色|红色|橙色|黄色|绿色|蓝色|紫色|粉色"),
        frames=("{x}", "一个{x}", "{x}的图片", "{x}图标"),
        two=("两个{x}", "2个{x}"),
        three=("三个{x}", "3个{x}"),
        tints=("{c}的{x}", "{c}{x}"),
        backgrounds=("{c}背景上的{s}", "{s}，{c}背景", "{c}背景的{s}"),
        three_d=("3D{s}", "{s}，3D风格"),
        flat=("扁平风格的{s}", "{s}，平面插画"),
    ),
    "zh-Hant": Phrases(
        colours=_colours("白色|黑色|灰色|紅色|橙色|黃色|綠色|藍色|紫色|粉紅色"),
        frames=("{x}", "一個{x}", "{x}的圖片", "{x}圖示"),
        two=("兩個{x}", "2個{x}"),
        three=("三個{x}", "3個{x}"),
        tints=("{c}的{x}", "{c}{x}"),
        backgrounds=("{c}背景上的{s}", "{s}，{c}背景", "{c}背景的{s}"),
        three_d=("3D{s}", "{s}，3D風格"),
        flat=("扁平風格的{s}", "{s}，平面插畫"),
    ),
    "ko": Phrases(
        colours=_colours("흰색|검은색|회색|빨간색|주황색|노란색|초록색|파란색|보라색|분홍색"),
        frames=("{x}", "{x} 그림", "{x} 이미지", "{x} 아이콘"),
        two=("두 개의 {x}", "{x} 2개"),
        three=("세 개의 {x}", "{x} 3개"),
        tints=("{c} {x}", "{c}으로 된 {x}"),
        backgrounds=("{c} 배경의 {s}", "{s}, {c} 배경", "{c} 배경 위의 {s}"),
        three_d=("3D {s}", "{s}, 3D 스타일"),
        flat=("평면 {s}", "{s}, 플랫 스타일"),
    ),
    "th": Phrases(
        colours=_colours("สีขาว|สีดำ|สีเทา|สีแดง|สีส้ม|สีเหลือง|สีเขียว|สีน้ำเงิน|สีม่วง|สีชมพู"),
        frames=("{x}", "รูป{x}", "ภาพของ{x}", "ไอคอน{x}"),
        two=("{x}สองอัน", "{x} 2 อัน"),
        three=("{x}สามอัน", "{x} 3 อัน"),
        tints=("{x}{c}", "{x}ที่มี{c}"),
        backgrounds=("{s}บนพื้นหลัง{c}", "{s} พื้นหลัง{c}", "{s}กับพื้นหลัง{c}"),
        three_d=("{s}แบบ 3D", "{s} สามมิติ"),
        flat=("{s}แบบแบน", "{s} ภาพวาดแบบแบน"),
    ),
}
"""The phrases of every language that the built-in text encoder knows (Chinese twice)."""

LANGUAGES: tuple[str, ...] = tuple(PHRASES)
