"""How the captions of clips are worded in each language: data only. `{x}` is the object, with or without an article.

Colours of objects and backgrounds are worded by `phrases.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOTION_ORDER = (
    "left",
    "right",
    "up",
    "down",
    "spin",
    "spin-back",
    "bounce",
    "grow",
    "shrink",
    "swing",
    "orbit",
    "fade-in",
    "fade-out",
)
"""The order of the lines of each language: that of `motions.MOTIONS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionPhrases:
    """One language. motions: patterns for each motion. animated: patterns for what moves by itself.

    subjects: `{x}` with its articles; what stands in the other patterns.
    """

    motions: Mapping[str, tuple[str, ...]]
    animated: tuple[str, ...]
    subjects: tuple[str, ...]


def _of(subjects: str, animated: str, motions: str) -> MotionPhrases:
    lines = [tuple(line.strip().split("|")) for line in motions.strip().splitlines()]
    return MotionPhrases(
        motions=dict(zip(MOTION_ORDER, lines, strict=True)),
        animated=tuple(animated.split("|")),
        subjects=tuple(subjects.split("|")),
    )


MOTION_PHRASES: dict[str, MotionPhrases] = {
    "en": _of(
        "{x}|a {x}|the {x}|a {x}",
        "an animated {x}|{x} animation|{x}, animated|moving picture of a {x}|{x}",
        """
        {x} moving left|{x} moving to the left|{x} going left|{x} moves left|{x} flying to the left
        {x} moving right|{x} moving to the right|{x} going right|{x} moves right|{x} flying to the right
        {x} moving up|{x} rising|{x} going up|{x} moves upwards|{x} flying up
        {x} moving down|{x} falling down|{x} going down|{x} moves downwards|{x} sinking
        {x} spinning|{x} rotating|{x} spinning clockwise|{x} turning round
        {x} spinning counterclockwise|{x} rotating anticlockwise|{x} spinning backwards
        {x} bouncing|{x} jumping|{x} jumps up and down|{x} hopping
        {x} growing|{x} getting bigger|{x} grows larger
        {x} shrinking|{x} getting smaller|{x} shrinks
        {x} swinging|{x} wobbling|{x} shaking|{x} rocking from side to side
        {x} moving in a circle|{x} circling|{x} orbiting|{x} going round in circles
        {x} fading in|{x} appearing|{x} slowly appears
        {x} fading out|{x} disappearing|{x} slowly vanishes
        """,
    ),
    "fr": _of(
        "{x}|un {x}|une {x}",
        "{x} animé|animation : {x}|{x} en mouvement|{x}",
        """
        {x} qui va à gauche|{x} se déplace vers la gauche|{x} va vers la gauche
        {x} qui va à droite|{x} se déplace vers la droite|{x} va vers la droite
        {x} qui monte|{x} se déplace vers le haut|{x} va vers le haut
        {x} qui descend|{x} se déplace vers le bas|{x} tombe
        {x} qui tourne|{x} tourne sur soi-même|{x} en rotation
        {x} qui tourne à l’envers|{x} tourne dans le sens antihoraire
        {x} qui saute|{x} rebondit|{x} qui rebondit
        {x} qui grandit|{x} devient plus grand
        {x} qui rétrécit|{x} devient plus petit
        {x} qui se balance|{x} tremble|{x} oscille
        {x} qui tourne en rond|{x} décrit un cercle
        {x} qui apparaît|{x} apparaît lentement
        {x} qui disparaît|{x} disparaît lentement
        """,
    ),
    "es": _of(
        "{x}|un {x}|una {x}",
        "{x} animado|animación de {x}|{x} en movimiento|{x}",
        """
        {x} que va a la izquierda|{x} se mueve hacia la izquierda|{x} moviéndose a la izquierda
        {x} que va a la derecha|{x} se mueve hacia la derecha|{x} moviéndose a la derecha
        {x} que sube|{x} se mueve hacia arriba|{x} subiendo
        {x} que baja|{x} se mueve hacia abajo|{x} cayendo
        {x} girando|{x} que gira|{x} da vueltas sobre sí
        {x} girando al revés|{x} gira en sentido antihorario
        {x} saltando|{x} rebota|{x} que salta
        {x} creciendo|{x} se hace más grande
        {x} encogiéndose|{x} se hace más pequeño
        {x} balanceándose|{x} se balancea|{x} temblando
        {x} moviéndose en círculo|{x} da vueltas en círculo
        {x} apareciendo|{x} aparece poco a poco
        {x} desapareciendo|{x} desaparece poco a poco
        """,
    ),
    "de": _of(
        "{x}|ein {x}|eine {x}",
        "{x}, animiert|Animation: {x}|{x} in Bewegung|{x}",
        """
        {x} bewegt sich nach links|{x} geht nach links|{x} fliegt nach links
        {x} bewegt sich nach rechts|{x} geht nach rechts|{x} fliegt nach rechts
        {x} bewegt sich nach oben|{x} steigt auf|{x} fliegt nach oben
        {x} bewegt sich nach unten|{x} fällt herunter|{x} sinkt nach unten
        {x} dreht sich|{x} rotiert|{x} dreht sich im Uhrzeigersinn
        {x} dreht sich rückwärts|{x} dreht sich gegen den Uhrzeigersinn
        {x} springt|{x} hüpft|{x} hüpft auf und ab
        {x} wächst|{x} wird größer
        {x} schrumpft|{x} wird kleiner
        {x} schaukelt|{x} wackelt|{x} schwingt hin und her
        {x} bewegt sich im Kreis|{x} kreist|{x} läuft im Kreis
        {x} erscheint|{x} wird langsam sichtbar
        {x} verschwindet|{x} verblasst langsam
        """,
    ),
    "it": _of(
        "{x}|un {x}|una {x}",
        "{x} animato|animazione: {x}|{x} in movimento|{x}",
        """
        {x} che va a sinistra|{x} si muove verso sinistra|{x} si sposta a sinistra
        {x} che va a destra|{x} si muove verso destra|{x} si sposta a destra
        {x} che sale|{x} si muove verso l’alto|{x} va in alto
        {x} che scende|{x} si muove verso il basso|{x} cade giù
        {x} che gira|{x} ruota|{x} gira su se stesso
        {x} che gira al contrario|{x} ruota in senso antiorario
        {x} che salta|{x} rimbalza|{x} saltella
        {x} che cresce|{x} diventa più grande
        {x} che si rimpicciolisce|{x} diventa più piccolo
        {x} che dondola|{x} oscilla|{x} trema
        {x} che si muove in cerchio|{x} gira in tondo
        {x} che appare|{x} appare lentamente
        {x} che scompare|{x} svanisce lentamente
        """,
    ),
    "pt": _of(
        "{x}|um {x}|uma {x}",
        "{x} animado|animação: {x}|{x} em movimento|{x}",
        """
        {x} indo para a esquerda|{x} move-se para a esquerda|{x} vai para a esquerda
        {x} indo para a direita|{x} move-se para a direita|{x} vai para a direita
        {x} subindo|{x} move-se para cima|{x} vai para cima
        {x} descendo|{x} move-se para baixo|{x} caindo
        {x} girando|{x} a rodar|{x} gira sobre si
        {x} girando ao contrário|{x} gira no sentido anti-horário
        {x} pulando|{x} salta|{x} a saltar
        {x} crescendo|{x} fica maior
        {x} encolhendo|{x} fica menor
        {x} balançando|{x} balança|{x} tremendo
        {x} movendo-se em círculo|{x} anda em círculos
        {x} aparecendo|{x} aparece devagar
        {x} desaparecendo|{x} desaparece devagar
        """,
    ),
    "ru": _of(
        "{x}|{x}|один {x}",
        "анимация: {x}|{x}, анимация|{x} в движении|{x}",
        """
        {x} движется влево|{x} едет налево|{x} летит влево
        {x} движется вправо|{x} едет направо|{x} летит вправо
        {x} движется вверх|{x} поднимается|{x} летит вверх
        {x} движется вниз|{x} падает|{x} опускается вниз
        {x} вращается|{x} крутится|{x} вертится
        {x} вращается против часовой стрелки|{x} крутится назад
        {x} прыгает|{x} подпрыгивает|{x} скачет
        {x} растёт|{x} становится больше|{x} увеличивается
        {x} уменьшается|{x} становится меньше
        {x} качается|{x} трясётся|{x} раскачивается
        {x} движется по кругу|{x} кружит
        {x} появляется|{x} медленно появляется
        {x} исчезает|{x} медленно исчезает
        """,
    ),
    "ja": _of(
        "{x}|{x}",
        "{x}のアニメーション|動く{x}|アニメの{x}|{x}",
        """
        左に動く{x}|{x}が左へ動く|左へ進む{x}
        右に動く{x}|{x}が右へ動く|右へ進む{x}
        上に動く{x}|{x}が上へ動く|上昇する{x}
        下に動く{x}|{x}が下へ動く|落ちる{x}
        回転する{x}|{x}が回る|くるくる回る{x}
        反時計回りに回る{x}|{x}が逆に回転する
        跳ねる{x}|{x}がジャンプする|弾む{x}
        大きくなる{x}|{x}が大きくなる
        小さくなる{x}|{x}が小さくなる
        揺れる{x}|{x}が揺れる|震える{x}
        円を描いて動く{x}|{x}が円を描く
        現れる{x}|{x}がゆっくり現れる
        消える{x}|{x}がゆっくり消える
        """,
    ),
    "zh": _of(
        "{x}|一个{x}",
        "{x}动画|会动的{x}|动态的{x}|{x}",
        """
        向左移动的{x}|{x}向左移动|{x}往左走
        向右移动的{x}|{x}向右移动|{x}往右走
        向上移动的{x}|{x}向上移动|{x}上升
        向下移动的{x}|{x}向下移动|{x}下落
        旋转的{x}|{x}在旋转|{x}转动
        逆时针旋转的{x}|{x}反向旋转
        跳跃的{x}|{x}在跳|{x}弹跳
        变大的{x}|{x}变大
        变小的{x}|{x}缩小
        摇摆的{x}|{x}在摇晃|{x}抖动
        绕圈的{x}|{x}绕圈移动
        出现的{x}|{x}慢慢出现
        消失的{x}|{x}慢慢消失
        """,
    ),
    "ar": _of(
        "{x}|{x}",
        "{x} متحرك|صورة متحركة {x}|{x} بالحركة|{x}",
        """
        {x} يتحرك إلى اليسار|{x} يذهب يسارا|{x} تتحرك نحو اليسار
        {x} يتحرك إلى اليمين|{x} يذهب يمينا|{x} تتحرك نحو اليمين
        {x} يتحرك إلى الأعلى|{x} يصعد|{x} تتحرك نحو الأعلى
        {x} يتحرك إلى الأسفل|{x} يسقط|{x} تتحرك نحو الأسفل
        {x} يدور|{x} تدور|{x} يدور حول نفسه
        {x} يدور عكس عقارب الساعة|{x} يدور إلى الخلف
        {x} يقفز|{x} تقفز|{x} يقفز عاليا
        {x} يكبر|{x} يصبح أكبر
        {x} يصغر|{x} يصبح أصغر
        {x} يتأرجح|{x} يهتز|{x} تتأرجح
        {x} يتحرك في دائرة|{x} يدور في دائرة
        {x} يظهر|{x} يظهر ببطء
        {x} يختفي|{x} يختفي ببطء
        """,
    ),
}
"""The wordings of every language that clips are captioned in."""
