import java.io.ByteArrayInputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.AlgorithmParameters;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.crypto.Cipher;
import javax.crypto.EncryptedPrivateKeyInfo;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.PBEParameterSpec;

/**
 * Puts a PEM key (P-256, PKCS #8) under a password, in the two forms in which services keep theirs:
 * an encrypted PEM key and a PKCS #12 key store. The JDK that runs the broker is at hand, so this
 * needs no other tool.
 *
 * <p>Usage: {@code Keys encrypt|pkcs12 CERTIFICATE KEY PASSWORD OUTPUT}
 */
public final class Keys {
    private static final String CIPHER = "PBEWithHmacSHA256AndAES_256";

    public static void main(String[] args) throws Exception {
        byte[] key = Base64.getMimeDecoder()
                .decode(Files.readString(Path.of(args[2])).replaceAll("-----[A-Z ]+-----", ""));
        char[] password = args[3].toCharArray();
        Path output = Path.of(args[4]);
        if (args[0].equals("encrypt")) {
            encrypt(key, password, output);
        } else {
            keyStore(Path.of(args[1]), key, password, output);
        }
    }

    private static void encrypt(byte[] key, char[] password, Path output) throws Exception {
        byte[] salt = new byte[16];
        new SecureRandom().nextBytes(salt);
        Cipher cipher = Cipher.getInstance(CIPHER);
        cipher.init(
                Cipher.ENCRYPT_MODE,
                SecretKeyFactory.getInstance(CIPHER).generateSecret(new PBEKeySpec(password)),
                new PBEParameterSpec(salt, 4096));
        // The cipher's own parameters carry a name that EncryptedPrivateKeyInfo does not know.
        AlgorithmParameters parameters = AlgorithmParameters.getInstance("PBES2");
        parameters.init(cipher.getParameters().getEncoded());
        byte[] info = new EncryptedPrivateKeyInfo(parameters, cipher.doFinal(key)).getEncoded();
        String body = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(info);
        String label = "ENCRYPTED PRIVATE KEY-----\n";
        Files.writeString(output, "-----BEGIN " + label + body + "\n-----END " + label);
    }

    private static void keyStore(Path certificatePath, byte[] pkcs8, char[] password, Path output)
            throws Exception {
        Certificate certificate = CertificateFactory.getInstance("X.509")
                .generateCertificate(new ByteArrayInputStream(Files.readAllBytes(certificatePath)));
        PrivateKey key =
                KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("client", key, password, new Certificate[] {certificate});
        try (OutputStream stream = Files.newOutputStream(output)) {
            store.store(stream, password);
        }
    }
}
